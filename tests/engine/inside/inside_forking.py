"""SGLang's processes on a CPU: forks of the first one, where that is safe, and without its key."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.engine_plugin import forking, identity, shared_tokenizer


@pytest.fixture(autouse=True)
def start_method() -> Generator[None, None, None]:
    before = multiprocessing.get_start_method(allow_none=True)
    yield
    multiprocessing.set_start_method(before, force=True)


NO_TOKENIZER = SimpleNamespace(skip_tokenizer_init=True)


def _spawns(server_args: SimpleNamespace) -> str:
    multiprocessing.set_start_method("spawn", force=True)
    return "settled"


@pytest.mark.parametrize(("threads", "method"), [(1, "fork"), (2, "spawn")])
def test_a_process_with_one_thread_is_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, method: str
) -> None:
    for number in range(threads):
        (tmp_path / str(number)).touch()
    monkeypatch.setattr(forking, "_THREADS", tmp_path)
    assert forking._settled(_spawns, NO_TOKENIZER) == "settled"
    assert multiprocessing.get_start_method() == method


def test_threads_are_counted() -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    assert not forking._is_alone()
    event.set()
    thread.join()


def test_the_tokenizer_is_loaded_once_for_the_same_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_tokenizer, "_loaded", {})
    calls: list[str] = []

    def load(name: str, **options: str) -> object:
        calls.append(name)
        return object()

    first = shared_tokenizer.once(load, "a", mode="auto", revision="1")
    assert shared_tokenizer.once(load, "a", revision="1", mode="auto") is first
    assert shared_tokenizer.once(load, "a", mode="auto", revision="2") is not first
    assert shared_tokenizer.once(load, "b", mode="auto", revision="1") is not first
    assert calls == ["a", "a", "b"]


def test_a_fork_cannot_sign_for_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (identity._ID, identity._OWN, identity._TRUST):
        monkeypatch.setenv(name, "")  # and as it was, afterwards
    monkeypatch.setattr(identity, "_identity", None)
    first = identity.become(str(tmp_path / "trust.json"))
    assert first.own_proof("r")
    child = os.fork()
    if not child:
        try:
            identity.identity().own_proof("r")
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
