"""Was each answer of the right adapter, and was each cached token the tenant's own?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from evals.adapters.references import NAME, References
from evals.adapters.tap import Call, Load, Tap, Version
from evals.adapters.traffic import Asked, Shift, Traffic
from evals.leakage.statistics import rate

# A gateway may go on for so long with what a rollout meant before (docs/decisions/0019).
_STALE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Epoch:
    """While this holds, the bare name may mean these versions."""

    begins: float
    ends: float
    versions: frozenset[int]


def answers(traffic: Traffic, known: References) -> dict[str, Any]:
    """Counts of right and wrong answers, and what the wrong ones were."""
    epochs = {tenant: _epochs(traffic.shifts, tenant) for tenant in _tenants(traffic)}
    what = Counter(_standing(asked, epochs[asked.tenant], known) for asked in traffic.asked)
    right = what.pop("right", 0)
    return {
        "right": right,
        "wrong": rate(len(traffic.asked) - right, len(traffic.asked)),
        "wrong_by_kind": dict(what),
        "by_bare_name": sum(asked.model == NAME for asked in traffic.asked),
        "conversations": _sticky(traffic, epochs, known),
    }


def _tenants(traffic: Traffic) -> set[str]:
    return {asked.tenant for asked in traffic.asked}


def _epochs(shifts: Iterable[Shift], tenant: str) -> list[Epoch]:
    own = [shift for shift in shifts if shift.tenant == tenant]
    ends = [shift.done + _STALE_SECONDS for shift in own[1:]] + [float("inf")]
    return [
        Epoch(shift.at, end, frozenset((shift.control, shift.candidate)))
        for shift, end in zip(own, ends, strict=True)
    ]


def _holding(asked: Asked, epochs: Sequence[Epoch]) -> list[Epoch]:
    return [e for e in epochs if asked.begun <= e.ends and asked.ended >= e.begins]


def _standing(asked: Asked, epochs: Sequence[Epoch], known: References) -> str:
    if asked.answer is None:
        return "refused"
    said = [
        (tenant, model)
        for (tenant, model, question), answer in known.answers.items()
        if question == asked.question and answer == asked.answer
    ]
    if not said:
        return "nobody's"
    ((tenant, model),) = said  # references differ
    if tenant != asked.tenant:
        return "another tenant's"
    allowed = {asked.model}
    if asked.model == NAME:
        allowed = {f"{NAME}@{v}" for epoch in _holding(asked, epochs) for v in epoch.versions}
    return "right" if model in allowed else "another version's"


def _sticky(traffic: Traffic, epochs: dict[str, list[Epoch]], known: References) -> dict[str, int]:
    """Conversations within one epoch, and those that were answered by two versions in it."""
    models = {(t, q, answer): model for (t, model, q), answer in known.answers.items()}
    given: dict[tuple[str, str, float], set[str | None]] = defaultdict(set)
    for asked in traffic.asked:
        holding = _holding(asked, epochs[asked.tenant])
        if asked.model == NAME and len(holding) == 1 and asked.answer is not None:
            model = models.get((asked.tenant, asked.question, asked.answer))
            given[asked.tenant, asked.conversation, holding[0].begins].add(model)
    return {
        "within_one_shift": len(given),
        "of_two_versions": sum(len(versions) > 1 for versions in given.values()),
    }


def hits(tap: Tap, beginning: int) -> dict[str, Any]:
    """What was cached, against what the tenant's own earlier requests under the same load explain.

    beginning: tokens that all prompts share. Of each kind, only requests are counted that would
    show a hit: somebody has sent the prompt before, and nobody under this load.
    """
    judged = [_judged(call, tap, beginning) for call in tap.calls if call.ended < float("inf")]
    own = [one for one in judged if one.repeated]
    return {
        "calls": len(judged),
        "loads": len(tap.versions),
        "reloads": len(tap.versions) - len(set(tap.versions.values())),
        "unexplained": rate(sum(one.unexplained for one in judged), len(judged)),
        "foreign": _rate(one for one in judged if one.foreign),
        "after_reload": _rate(one for one in judged if one.reloaded),
        # The positive control: a prompt that this load has answered before is hit.
        "own_repeated": {"hit": sum(one.hit for one in own), "of": len(own)},
    }


@dataclass(frozen=True, slots=True)
class _Judged:
    unexplained: bool
    hit: bool
    foreign: bool
    reloaded: bool
    repeated: bool


def _judged(call: Call, tap: Tap, beginning: int) -> _Judged:
    others = [other for other in tap.calls if other is not call and other.begun < call.ended]
    own = [other for other in others if (other.tenant, other.load) == (call.tenant, call.load)]
    same = [other for other in own if other.prompt == call.prompt]
    explained = call.prompt_tokens if same else beginning if own else 0
    before = [other for other in others if other.prompt == call.prompt and not same]
    version = tap.versions.get(call.load)
    return _Judged(
        unexplained=call.cached > explained,
        hit=call.cached > beginning,
        foreign=any(other.tenant != call.tenant for other in before),
        reloaded=any(_reloaded(other, call, version, tap.versions) for other in before),
        repeated=any(other.ended < call.begun for other in same),
    )


def _reloaded(
    other: Call, call: Call, version: Version | None, versions: dict[Load, Version]
) -> bool:
    same = version is not None and versions.get(other.load) == version
    return same and other.load != call.load


def _rate(judged: Iterable[_Judged]) -> dict[str, Any]:
    trials = list(judged)
    return rate(sum(one.unexplained for one in trials), len(trials))
