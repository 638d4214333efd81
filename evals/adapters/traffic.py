"""Requests of all tenants at once, while rollouts move their bare names between versions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from evals.adapter_platform import Merchant, RequestFailedError
from evals.adapters.references import NAME, TOKENS

# Nothing is decided: the rollouts move when the traffic moves them.
_GATES = {"minimum_requests": 100_000, "window_requests": 1_000_000}
_RUN = 4  # requests that a client sends to one model in a row


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. model: as it was named. answer: None if it was refused. Monotonic seconds."""

    tenant: str
    model: str
    conversation: str
    question: str
    answer: str | None
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Shift:
    """From some moment between `at` and `done` the bare name means one of these two."""

    tenant: str
    at: float
    done: float
    control: int
    candidate: int


@dataclass(slots=True)
class Traffic:
    """What was sent and what was shifted."""

    asked: list[Asked] = field(default_factory=list)
    shifts: list[Shift] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Load:
    """clients: of each tenant, one request in flight each. shifts: of each tenant."""

    requests: int
    versions: int
    clients: int = 3
    shifts: int = 4
    conversations: int = 6


async def sent(
    merchants: Sequence[Merchant],
    questions: Sequence[str],
    load: Load,
    random: Random,
    progress: Callable[[int], object],
) -> Traffic:
    """Send it all; a refused request is kept as one."""
    traffic = Traffic()
    for merchant in merchants:
        await _shifted(merchant, 0, load, traffic)
    left = iter(range(load.requests))

    async def client(merchant: Merchant, draw: Random) -> None:
        for number in left:
            progress(len(traffic.asked))
            model, conversation = _model(load, draw)
            for _ in (number, *islice(left, _RUN - 1)):
                asked = await _one(merchant, model, conversation, draw.choice(questions))
                traffic.asked.append(asked)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_shifting(merchants, load, traffic))
        for merchant in merchants:
            for _ in range(load.clients):
                tasks.create_task(client(merchant, Random(random.random())))
    return traffic


def _model(load: Load, draw: Random) -> tuple[str, str]:
    """A version by its number, or a conversation by the bare name."""
    conversation = f"c{draw.randrange(load.conversations)}"
    if draw.random() < 0.4:
        return NAME, conversation
    return f"{NAME}@{1 + draw.randrange(load.versions)}", conversation


async def _one(merchant: Merchant, model: str, conversation: str, question: str) -> Asked:
    begun = time.monotonic()
    try:
        reply = await merchant.ask(model, question, max_tokens=TOKENS, conversation=conversation)
        answer: str | None = reply.text
    except RequestFailedError:
        answer = None
    return Asked(merchant.name, model, conversation, question, answer, begun, time.monotonic())


async def _shifting(merchants: Sequence[Merchant], load: Load, traffic: Traffic) -> None:
    """One shift of each tenant in each part of the requests."""
    for number in range(1, load.shifts + 1):
        due = number * load.requests // (load.shifts + 1)
        while len(traffic.asked) < due:  # noqa: ASYNC110 - the clients know nothing of it
            await asyncio.sleep(0.02)
        for merchant in merchants:
            await _shifted(merchant, number, load, traffic)


async def _shifted(merchant: Merchant, number: int, load: Load, traffic: Traffic) -> None:
    control, candidate = (1 + (number + step) % load.versions for step in (0, 1))
    path, at = f"/v1/adapters/{NAME}/rollouts", time.monotonic()
    if number:
        await merchant.call("DELETE", path)
    body = {"control": control, "candidate": candidate, "percent": 50, "gates": _GATES}
    await merchant.call("POST", path, json=body)
    traffic.shifts.append(Shift(merchant.name, at, time.monotonic(), control, candidate))
