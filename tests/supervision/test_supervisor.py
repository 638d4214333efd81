"""A supervisor restarts what dies, ever more slowly, and stops for good when closed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from serving.supervision.process import Command
from serving.supervision.supervisor import Supervisor


@dataclass
class FakeProcess:
    pid: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False

    async def wait(self) -> int:
        await self.ended.wait()
        return 1

    async def stop(self) -> int:
        self.stopped = True
        self.ended.set()
        return 1


class World:
    """Launches fake processes, and sleeps without time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.processes: asyncio.Queue[FakeProcess] = asyncio.Queue()
        self._made = 0

    async def launch(self, command: Command, *, log: Path) -> FakeProcess:
        self._made += 1
        process = FakeProcess(self._made)
        self.processes.put_nowait(process)
        return process

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def supervisor(self, **more: object) -> Supervisor:
        return Supervisor(
            "engine",
            lambda: Command(["x"], {}),
            Path("log"),
            launch=self.launch,
            clock=lambda: self.now,
            sleep=self.sleep,
            **more,  # type: ignore[arg-type]
        )


async def test_a_process_that_dies_is_started_again_with_growing_delays() -> None:
    world = World()
    supervisor = world.supervisor()
    supervisor.start()
    for _ in range(7):
        (await world.processes.get()).ended.set()
    last = await world.processes.get()
    assert world.slept == [1, 2, 4, 8, 16, 30, 30]
    await supervisor.close()
    assert last.stopped
    assert supervisor.state == "stopped"


async def test_a_process_that_lived_long_is_started_again_at_once() -> None:
    world = World()
    supervisor = world.supervisor()
    supervisor.start()
    (await world.processes.get()).ended.set()
    (await world.processes.get()).ended.set()
    third = await world.processes.get()
    world.now += 100
    third.ended.set()
    await world.processes.get()
    assert world.slept == [1, 2, 1]
    await supervisor.close()


async def test_it_runs_only_when_ready_and_a_readiness_that_fails_stops_the_process() -> None:
    world = World()
    tries = 0

    async def ready() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("refused")

    supervisor = world.supervisor(ready=ready)
    supervisor.start()
    first = await world.processes.get()
    await supervisor.until_running()
    assert first.stopped
    assert supervisor.state == "running"
    await supervisor.close()
