"""The order of answers under load as an oracle: which of my guesses was somebody's prompt?

Wu et al., "I Know What You Asked: Prompt Leakage via KV-Cache Sharing" (PromptPeek), NDSS 2025: a
scheduler that serves the longest cached prefix first answers the right guess first.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import secrets
import statistics
from pathlib import Path
from typing import Any

from evals.performance.engine_side import Asker, Progress, running_sides
from isolation.namespaces import Namespace
from isolation.testing.contexts import tenant_for_tests
from serving.engine.client import EngineClient
from serving.engine.launch import Worker
from serving.key_files import write_private
from serving.supervision.process import Command

GUESSES = 8
_WORDS, _BUSY = 120, 4
_PRIORITY = ("--enable-priority-scheduling", "--default-priority-value")


async def measure(worker: Worker, trials: int, progress: Progress) -> dict[str, Any]:
    """The right guess's mean rank, 0 the first, of `GUESSES` sent at once.

    ours: in the attacker's own namespace. shared: SGLang as it is, with one namespace for all and
    the longest prefix first: the leaky twin, and the control that the attack works.
    """
    others = {"shared": longest_prefix_first}
    async with running_sides(worker, progress, {"ours": True}, others) as sides:
        result = {
            name: _judged([await _rank(sides[name], name == "shared") for _ in range(trials)])
            for name in ("ours", "shared")
        }
    return {"guesses": GUESSES, "trials": trials, "sides": result}


def longest_prefix_first(command: Command) -> Command:
    """SGLang without the plugin, which schedules by how much of a prompt is cached."""
    config = Path(command.argv[-1])
    content = json.loads(config.read_text())
    arguments = content["arguments"]
    for flag in _PRIORITY:
        at = arguments.index(flag)
        del arguments[at : at + (2 if flag == _PRIORITY[1] else 1)]
    more = ("--schedule-policy", "lpm", "--chunked-prefill-size", "256")
    changed = config.with_name(f"lpm-{config.name}")
    write_private(changed, json.dumps(content | {"arguments": [*arguments, *more]}))
    module = "serving.engine_plugin.stock_worker"
    return Command([command.argv[0], "-m", module, str(changed)], command.env)


async def _rank(client: EngineClient, shared: bool) -> int:
    victims = Namespace(secrets.token_hex(32))
    victim = Asker(client, tenant_for_tests("victim"), victims)
    own = victims if shared else Namespace(secrets.token_hex(32))
    attacker = Asker(client, tenant_for_tests("attacker"), own)
    right, *wrong = (_prompt() for _ in range(GUESSES))
    await _ask(victim, right, 1)
    busy = [asyncio.create_task(_ask(victim, _prompt(), 40)) for _ in range(_BUSY)]
    await asyncio.sleep(0)
    order: list[str] = []

    async def guess(prompt: str) -> None:
        await _ask(attacker, prompt, 1)
        order.append(prompt)

    await asyncio.gather(*(guess(each) for each in random.sample([right, *wrong], GUESSES)))
    await asyncio.gather(*busy)
    return order.index(right)


async def _ask(asker: Asker, prompt: str, tokens: int) -> None:
    await asker.ask([{"role": "user", "content": prompt}], tokens, whole=True)


def _prompt() -> str:
    return " ".join(secrets.token_hex(2) for _ in range(_WORDS))


def _judged(ranks: list[int]) -> dict[str, Any]:
    """The mean rank against chance, by the normal approximation of a mean of uniform ranks."""
    chance = (GUESSES - 1) / 2
    deviation = math.sqrt((GUESSES**2 - 1) / 12 / len(ranks))
    below = (chance - statistics.mean(ranks)) / deviation
    p = 0.5 * math.erfc(below / math.sqrt(2))
    return {"mean_rank": round(statistics.mean(ranks), 2), "chance": chance, "p": p}
