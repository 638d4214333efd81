"""Files are parsed elsewhere, within limits: what would take the gateway down takes one process."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import psutil
import pytest

from isolation.context import TenantContext
from isolation.errors import RequestRefusedError
from isolation.fair_slots import FairSlots
from isolation.testing.contexts import tenant_for_tests
from rag.errors import DocumentTooLargeError, DocumentUnreadableError
from rag.reading import parsers, reader
from rag.reading.limits import ReadingLimits
from rag.reading.parsers import Parsers
from rag.reading.source import SourceFile
from rag.spool import Spool
from tests.rag import pdfs

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
LIMITS = ReadingLimits(
    size=30_000_000, pages=200, cells=400_000, seconds=30, memory=300_000_000, cell=100_000
)


class Files:
    """One parsers' process for all tests, and a folder for what they read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.numbers = folder, itertools.count()
        self.spool = Spool(folder / "spool")
        self.parsers = Parsers(self.spool, LIMITS)

    async def text_of(self, name: str, data: bytes, ctx: TenantContext = FJELLVIK) -> str:
        source = self.folder / f"source-{next(self.numbers)}"
        source.write_bytes(data)
        async with self.parsers.read(ctx, SourceFile(source, name), name) as document:
            assert document.path.stat().st_mode & 0o777 == 0o600
            return "".join(document.lines())

    def nothing_is_left(self) -> bool:
        return not list((self.folder / "spool").iterdir())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsers, "_PYTHON", sys.executable)  # as it is started for real
        files = Files(tmp_path_factory.mktemp("files"))
        yield files
        files.parsers.close()


@pytest.fixture
def files(shared: Files) -> Iterator[Files]:
    yield shared
    assert shared.nothing_is_left()


async def test_a_file_is_read_in_another_process(files: Files) -> None:
    assert await files.text_of("a.md", b"# Returns\n\n30 days") == "# Returns\n\n30 days"


# Made when they are asked for, and not in each process that collects tests.
BOMBS: dict[str, Callable[[], bytes]] = {
    "nested.html": lambda: b"<div>" * 1_000_000,
    "paragraphs.html": lambda: b"<p>" * 1_000_000 + b"x",
    "field.csv": lambda: b"a,b\n1," + b"x" * 5_000_000,
    "cells.csv": lambda: b"a,b\n" + b"1,2\n" * 300_000,
    "matter.md": lambda: b"---\n" + b"a: b\n" * 20_000 + b"---\ntext",
    "long.txt": lambda: b"a line of text\n" * 2_100_000,
    "pages.pdf": lambda: pdfs.pdf(*([["one page"]] * 201)),
    "expanding.pdf": lambda: pdfs.expanding(400_000_000),
    "slow.pdf": lambda: pdfs.slow(200, 100_000),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_what_exceeds_a_limit_is_refused_by_name(
    files: Files, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "slow.pdf":  # which takes all the time that there is
        monkeypatch.setattr(files.parsers, "_limits", replace(LIMITS, seconds=1))
    with pytest.raises(RequestRefusedError) as caught:
        await files.text_of(name, BOMBS[name]())
    assert caught.value.code == "document_too_large"
    assert caught.value.message.startswith(f"{name}: ")


BROKEN = {
    "arrays.pdf": pdfs.nested(100_000),
    "loop.pdf": pdfs.looping_tree(),
    "aliases.md": b"---\na: &a [x, x]\nb: [*a, *a]\n---\ntext",
    "endless.md": b"---\na: b\n",
    "zip.pdf": b"PK\x03\x04" + b"\0" * 1_000,
    "archive.docx": b"PK\x03\x04" + b"\0" * 1_000,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_broken_is_refused_by_name(files: Files, name: str) -> None:
    with pytest.raises(DocumentUnreadableError) as caught:
        await files.text_of(name, BROKEN[name])
    assert caught.value.message.startswith(f"{name}: ")


async def test_a_hundred_thousand_rows_are_read(files: Files) -> None:
    rows = b"".join(b"%d,name %d,%d\n" % (n, n, n * 7) for n in range(100_000))
    text = await files.text_of("rows.csv", b"id,name,price\n" + rows)
    lines = text.splitlines()
    assert len(lines) == 100_000
    assert lines[-1] == "id: 99999; name: name 99999; price: 699993"


async def test_a_bomb_takes_its_own_process_and_no_other(files: Files) -> None:
    good = [files.text_of("good.md", b"# Good") for _ in range(3)]
    bad = files.text_of("expanding.pdf", BOMBS["expanding.pdf"]())
    *texts, refused = await asyncio.gather(*good, bad, return_exceptions=True)
    assert texts == ["# Good"] * 3
    assert isinstance(refused, DocumentTooLargeError)


async def _read_before(files: Files) -> int:
    """How many of a tenant's twenty files are read before another's one, which came after them."""
    ended: list[int] = []

    async def read(number: int) -> None:
        await files.text_of("rows.csv", b"a,b\n" + b"1,2\n" * 10_000)
        ended.append(number)

    flood = [asyncio.create_task(read(number)) for number in range(20)]
    while files.parsers.waiting < 10:
        await asyncio.sleep(0)
    await files.text_of("one.md", b"# One", VOLTBAY)
    before = len(ended)
    await asyncio.gather(*flood)
    return before


async def test_a_file_waits_for_no_more_of_anothers_than_are_being_read(files: Files) -> None:
    assert await _read_before(files) <= 2 * 2  # those that have begun, and whoever ends with it


async def test_without_turns_it_waits_for_all_of_them(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leaky twin: first come, first served."""
    one_line = tenant_for_tests("everybody")
    enter = FairSlots.enter

    async def leaky(slots: FairSlots, ctx: TenantContext) -> None:
        await enter(slots, one_line)

    monkeypatch.setattr(FairSlots, "enter", leaky)
    monkeypatch.setattr(FairSlots, "leave", partialmethod(_left_by, FairSlots.leave, one_line))
    assert await _read_before(files) >= 18


def _left_by(
    slots: FairSlots, leave: Callable[..., None], everybody: TenantContext, ctx: TenantContext
) -> None:
    leave(slots, everybody)


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "rag.reading.server" in _line(child)]


def _line(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


async def _forked() -> psutil.Process:
    (server,) = _children()
    while not (found := server.children()):
        await asyncio.sleep(0.005)
    return found[0]


async def test_a_parser_that_dies_is_named_and_the_next_file_is_read(files: Files) -> None:
    dying = asyncio.create_task(files.text_of("slow.pdf", BOMBS["slow.pdf"]()))
    (await _forked()).kill()
    with pytest.raises(DocumentUnreadableError, match=r"slow\.pdf: its parser died"):
        await dying
    assert await files.text_of("a.md", b"# A") == "# A"


async def test_a_caller_who_gives_up_ends_its_parser(files: Files) -> None:
    asking = asyncio.create_task(files.text_of("slow.pdf", BOMBS["slow.pdf"]()))
    parser = await _forked()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.to_thread(parser.wait, 3)


async def test_the_parsers_process_is_started_again_when_it_is_gone(files: Files) -> None:
    await files.text_of("a.md", b"# A")
    (server,) = _children()
    os.kill(server.pid, signal.SIGKILL)
    assert await files.text_of("b.md", b"# B") == "# B"


async def test_no_setting_and_no_key_reaches_the_parsers(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.parsers.close()
    monkeypatch.setenv("BULKHEAD_MASTER_KEY", "k" * 40)
    await files.text_of("a.md", b"# A")
    (server,) = _children()
    assert not [name for name in server.environ() if name.startswith("BULKHEAD")]


def test_every_limit_says_what_it_is() -> None:
    for limit in ("size", "pages", "nesting", "cells", "cell", "metadata"):
        with pytest.raises(DocumentTooLargeError):
            LIMITS.check(limit, getattr(LIMITS, limit) + 1)
        LIMITS.check(limit, getattr(LIMITS, limit))


def test_without_limits_a_bomb_is_read(tmp_path: Path) -> None:
    """The control: it is the limit that refuses them."""
    (tmp_path / "cells.csv").write_bytes(BOMBS["cells.csv"]())
    target = tmp_path / "text"
    reading = reader.read_file(tmp_path / "cells.csv", "cells.csv", target, ReadingLimits())
    assert reading.characters == target.stat().st_size == 300_000 * len("a: 1; b: 2\n")


def test_what_a_kill_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    first = Spool(tmp_path / "spool")
    with first.file() as path:
        path.write_bytes(b"left")
        assert Spool(tmp_path / "spool").swept == 1
        assert not path.exists()
