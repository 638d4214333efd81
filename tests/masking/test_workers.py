"""Analysis in processes of their own: answers, deaths, and nobody left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator

import psutil
import pytest

from isolation.masking.entities import VERSION
from isolation.masking.workers import DetectorWorkers, MaskingUnavailableError, _environment


@pytest.fixture
async def workers() -> AsyncGenerator[DetectorWorkers, None]:
    workers = await DetectorWorkers.start(1)
    yield workers
    await workers.close()


def _process(workers: DetectorWorkers) -> int:
    return workers.pids[0]


async def test_each_asker_gets_its_own_answer_and_one_that_left_disturbs_nobody(
    workers: DetectorWorkers,
) -> None:
    assert workers.version == VERSION
    left = asyncio.create_task(workers.find("Nobody waits for ada@example.com", None))
    await asyncio.sleep(0)
    left.cancel()
    texts = [f"{'x' * n} mail{n}@example.com" for n in range(1, 8)]
    found = await asyncio.gather(*(workers.find(text, None) for text in texts))
    for text, findings in zip(texts, found, strict=True):
        assert {text[f.start : f.end] for f in findings} == {text.split()[1]}
    # Half a character, which JSON does not take, changes no place.
    found_beside = await workers.find("\ud800 ada@example.com", None)
    assert {(each.start, each.end) for each in found_beside} == {(2, 17)}


async def test_who_waits_for_a_worker_that_dies_is_refused_and_the_next_one_is_served(
    workers: DetectorWorkers,
) -> None:
    first = _process(workers)
    waiting = asyncio.create_task(workers.find("Ada Lind, ada@example.com. " * 400, None))
    await asyncio.sleep(0.05)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(MaskingUnavailableError):
        await waiting
    assert await workers.find("ada@example.com", None)
    assert _process(workers) != first


async def test_workers_share_what_is_loaded_and_outlive_who_forked_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("isolation.masking.workers._PYTHON", sys.executable)
    workers = await DetectorWorkers.start(2)
    first, forks = workers._forks, psutil.Process(workers._forks._process.pid)
    assert forks.num_threads() == 1  # a fork has no other
    await asyncio.gather(*(workers.find(f"Ada Lind, ada{n}@example.com", None) for n in range(9)))
    used = {each.pid: each.memory_full_info() for each in forks.children()}
    assert used.keys() == set(workers.pids)
    assert all(each.uss < each.rss / 2 for each in used.values())
    forks.kill()
    await first._process.wait()
    assert await workers.find("ada@example.com", None)
    assert workers.pids[0] in used
    os.kill(workers.pids[0], signal.SIGKILL)
    while not workers._workers[0].dead:
        await asyncio.sleep(0.01)
    assert await workers.find("ada@example.com", None)
    assert workers._forks is not first
    await workers.close()


def test_a_gateway_that_is_killed_leaves_no_worker_behind() -> None:
    program = (
        "import asyncio, os\n"
        "from isolation.masking.workers import DetectorWorkers\n"
        "async def main():\n"
        "    workers = await DetectorWorkers.start(1)\n"
        "    print(workers.pids[0], flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as gateway:
        assert gateway.stdout is not None
        worker = psutil.Process(int(gateway.stdout.readline()))
        gateway.kill()
    worker.wait(timeout=30)


def test_a_worker_is_told_no_key() -> None:
    told = _environment({"BULKHEAD_MASTER_KEY": "secret", "PATH": "/bin"})
    assert told.keys() == {"PATH", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}
