"""Documents into chunks: nothing is lost, and no text, of no language, costs more than its length.

Such texts took minutes, in which the process answered nobody.
"""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.documents import MAX_TITLE_LENGTH, Document
from rag.embedding.minilm import MiniLmEmbedder
from rag.errors import InvalidDocumentError
from rag.splitting import Section, Splitter, sections
from rag.windows import windows

_MODEL = MiniLmEmbedder()
_DEGENERATE = {
    "sentence ends": "!?" * 10_000,
    "full stops": "." * 10_000,
    "quoted": '."' * 10_000,
    "one word": "0f" * 20_000,
    "one line": "hello world, this is a text about returns. " * 3_000,
    "no spaces": "漢字。" * 3_000,
    "spaces": "x" + " " * 50_000 + "y",
    "lines": "a\n" * 5_000,
    "a heading's spaces": "# a" + " " * 50_000 + "x",
    "a heading's marks": "# a " + "# " * 20_000 + "x",
    "a long heading": "# " + "long " * 20_000 + "\n\n" + "text\n\n## b\n\n" * 20,
}


def _bare(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("text", _DEGENERATE.values(), ids=_DEGENERATE.keys())
def test_a_text_of_no_language_is_split_into_chunks_of_bounded_size(text: str) -> None:
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return _MODEL.count_tokens(text)

    chunks = [chunk.text for chunk in Splitter(count).split(Document("d", "T", text))]
    # A sentence more and the rest, again and again, would be thousands.
    assert counted <= 30 * len(text)
    assert max(map(len, chunks)) <= 5_000
    assert max(map(_MODEL.count_tokens, chunks)) <= 256
    # Chunks of one section overlap, and have their heading each.
    assert sum(len(_bare(chunk)) for chunk in chunks) >= len(_bare(text.replace("#", "")))


_WORDS = st.lists(st.sampled_from(["a", "Yes!", "?!", "end.", "#", "##", "\n", "é.", "w" * 40]))


@given(_WORDS, st.integers(5, 60))
def test_every_word_is_in_a_chunk_in_its_order(words: list[str], size: int) -> None:
    text = " ".join([*words, "last"])
    splitter = Splitter(lambda text: len(text.split()), max_tokens=size)
    together = "\n".join(chunk.text for chunk in splitter.split(Document("d", "T", text)))
    place = 0
    for word in text.split():
        # A heading's marks go, and a chunk may end between two of punctuation.
        place = together.find(word.strip("#?!."), place)
        assert place >= 0


@given(st.text(st.sampled_from("ab \n\t"), max_size=200), st.integers(2, 30))
def test_windows_are_the_text_and_end_at_spaces(text: str, most: int) -> None:
    found = windows(text, most)
    assert "".join(found) == text
    assert all(0 < len(window) <= most for window in found)
    for window, following in pairwise(found):
        if any(char.isspace() for char in window[most // 2 + 1 :]):
            assert following[0].isspace()


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("# Returns", ("Returns",)),
        ("### Returns ##", ("Returns",)),
        ("# C#", ("C#",)),
        ("#\tTabbed  ", ("Tabbed",)),
        ("###### Six", ("Six",)),
        ("####### Seven", ()),
        ("#hashtag", ()),
        ("# ##", ()),
        ("#", ()),
        ("# " + "x" * 301, ()),
    ],
)
def test_a_heading_is_what_commonmark_says(line: str, path: tuple[str, ...]) -> None:
    (section,) = sections(io.StringIO(f"{line}\n\ntext\n"))
    assert section.path == path
    # What is no heading is text.
    assert (line.strip() in section.text) is (not path)


def test_a_section_without_lines_is_cut_at_spaces() -> None:
    text = "word " * 20_000
    found = list(sections(io.StringIO(f"# A\n{text}")))
    assert {section.path for section in found} == {("A",)}
    assert max(len(section.text) for section in found) < 60_000
    assert " ".join(section.text for section in found).split() == text.split()
    assert found[0] == Section(("A",), found[0].text)


def test_a_title_has_a_length() -> None:
    assert Document("d", "x" * MAX_TITLE_LENGTH, "text").title
    with pytest.raises(InvalidDocumentError, match="at most 500"):
        Document("d", "x" * (MAX_TITLE_LENGTH + 1), "text")
