"""When a question that gets no answer raises the alarm, and when it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from serving.adapters.repeated import Repeated


@dataclass
class Asked:
    answers: bool = True
    hangs: bool = False
    count: int = 0
    beside: int = 0
    most: int = 0
    alarms: int = 0

    async def ask(self) -> None:
        self.count += 1
        self.beside += 1
        self.most = max(self.most, self.beside)
        try:
            if self.hangs:
                await asyncio.Event().wait()
            if not self.answers:
                raise OSError
        finally:
            self.beside -= 1

    def alarm(self) -> None:
        self.alarms += 1


@pytest.fixture
async def asked() -> AsyncGenerator[Asked, None]:
    asked = Asked()
    repeated = Repeated(asked.ask, asked.alarm, every=0.02, patience=0.4)
    repeated.start()
    yield asked
    asked.hangs = False
    await repeated.close()
    count = asked.count
    await asyncio.sleep(0.05)
    assert asked.count == count


async def test_answers_raise_no_alarm(asked: Asked) -> None:
    await asyncio.sleep(0.6)
    assert asked.count > 5
    assert asked.alarms == 0


@pytest.mark.parametrize("way", ["answers", "hangs"])
async def test_the_alarm_comes_after_the_patience_and_ends_with_an_answer(
    asked: Asked, way: str
) -> None:
    await asyncio.sleep(0.05)
    setattr(asked, way, way == "hangs")
    await asyncio.sleep(0.2)
    assert asked.alarms == 0
    await asyncio.sleep(0.6)
    assert asked.alarms > 0
    assert asked.most == 1
    setattr(asked, way, way != "hangs")
    await asyncio.sleep(0.2)
    alarms = asked.alarms
    await asyncio.sleep(0.3)
    assert asked.alarms == alarms


async def test_who_merely_stood_still_asks_again_before_the_alarm(asked: Asked) -> None:
    await asyncio.sleep(0.05)
    time.sleep(0.6)  # noqa: ASYNC251 - the whole process stands still
    await asyncio.sleep(0.1)
    assert asked.alarms == 0


async def test_where_others_act_on_silence_a_late_answer_raises_it_too() -> None:
    asked = Asked()
    repeated = Repeated(asked.ask, asked.alarm, every=0.02, patience=0.4, jumps=True)
    repeated.start()
    await asyncio.sleep(0.05)
    assert asked.alarms == 0
    time.sleep(0.6)  # noqa: ASYNC251 - the whole process stands still
    await asyncio.sleep(0.1)
    assert asked.alarms == 1
    await repeated.close()
