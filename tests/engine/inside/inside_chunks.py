"""The size of a prompt's next chunk, as SGLang's scheduler is told it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from serving.engine_plugin import chunks


def _chunk(scheduler: SimpleNamespace, running: int) -> int:
    batch = SimpleNamespace(is_empty=lambda: running == 0)
    seen = chunks._prefill(lambda it, _: it.chunked_prefill_size, scheduler, batch)
    return int(seen)


@pytest.mark.parametrize(
    ("shared", "running", "chunk"),
    [("256", 0, 704), ("256", 1, 256), ("1000", 1, 704), ("0", 1, 704)],
)
def test_it_is_smaller_only_beside_running_answers(
    monkeypatch: pytest.MonkeyPatch, shared: str, running: int, chunk: int
) -> None:
    monkeypatch.setenv(chunks.SHARED, shared)
    scheduler = SimpleNamespace(chunked_prefill_size=704)
    assert _chunk(scheduler, running) == chunk
    assert scheduler.chunked_prefill_size == 704


def test_the_size_is_whole_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chunks.SHARED, "256")
    scheduler = SimpleNamespace(chunked_prefill_size=704)

    def fails(*_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        chunks._prefill(fails, scheduler, SimpleNamespace(is_empty=lambda: False))
    assert scheduler.chunked_prefill_size == 704
