"""The isolation suite: all probes against one deployment, from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from evals.contract.checks import Checks, Verdict
from evals.contract.probes import (
    adapters,
    chat,
    controls,
    documents,
    groups,
    influence,
    keys,
    limits,
    output,
    placeholders,
    prefix_cache,
    refusals,
    search,
    usage,
)
from evals.contract.target import Pair, UnjudgedError

Probe = Callable[[Pair, Checks], Awaitable[None]]

PROBES: dict[str, Probe] = {
    "limits": limits.probe,
    "keys": keys.probe,
    "documents": documents.probe,
    "search": search.probe,
    "groups": groups.probe,
    "influence": influence.probe,
    "chat": chat.probe,
    "prefix-cache": prefix_cache.probe,
    "adapters": adapters.probe,
    "controls": controls.probe,
    "usage": usage.probe,
    "placeholders": placeholders.probe,
    "output": output.probe,
    "refusals": refusals.probe,
}
EXIT_STATUS = {Verdict.held: 0, Verdict.leak: 1, Verdict.unjudged: 2}


async def judge(probe: Probe, pair: Pair) -> Checks:
    """Run one probe; a target that breaks off in the middle keeps what was found until then."""
    checks = Checks(lambda: pair.trace.last)
    try:
        await probe(pair, checks)
    except UnjudgedError as error:
        checks.control("the target answers", False, str(error))
    return checks


async def run(pair: Pair, progress: Callable[[str], object]) -> dict[str, Checks]:
    """Run all probes, one after the other. `progress`: told each probe's name as it begins."""
    results = {}
    for name, probe in PROBES.items():
        progress(name)
        results[name] = await judge(probe, pair)
    return results


def verdict(results: dict[str, Checks]) -> Verdict:
    """Of the whole run: a leak if there is one, else unjudged if anything was."""
    verdicts = {checks.verdict for checks in results.values()}
    for worst in (Verdict.leak, Verdict.unjudged):
        if worst in verdicts:
            return worst
    return Verdict.held


def as_json(target: str, results: dict[str, Checks]) -> dict[str, Any]:
    """For CI to keep."""
    return {
        "target": target,
        "verdict": verdict(results).value,
        "probes": {name: checks.as_json() for name, checks in results.items()},
    }
