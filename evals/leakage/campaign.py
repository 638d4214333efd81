"""Many attacks of one class, each generated from its own seed, and what they add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from evals.leakage.attack import Attack, Attempt, Judgement, Shown, judge
from evals.leakage.statistics import auc, rate
from evals.leakage.world import World
from isolation.errors import CrossTenantError

_CONTROL_EACH, _FIRST = 5, 12
# Of the controls of a class: a filter that holds for nothing, or a spelling that no document has,
# shows nothing to its owner either.
_SEEN_AT_LEAST = 0.25
_CONFIDENCE = 0.99
Signals = list[tuple[bool, dict[str, float]]]


@dataclass(slots=True)
class Tally:
    """What one class of attacks came to."""

    attack: Attack
    across: int = 0
    within: int = 0
    cross_tenant: int = 0
    violations: int = 0
    controls: int = 0
    seen: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    signals: Signals = field(default_factory=list)
    control_signals: Signals = field(default_factory=list)

    def add(self, attempt: Attempt, judgement: Judgement, shown: Shown | None) -> None:
        """Count one attack."""
        if attempt.attacker.tenant_id == attempt.victim.tenant_id:
            self.within += 1
        else:
            self.across += 1
        self.cross_tenant += judgement.cross_tenant
        self.violations += judgement.violation
        self.findings.update([judgement.what] if judgement.what else [])
        if shown is not None and shown.signals:
            self.signals.append((shown.member, shown.signals))

    def add_control(self, judgement: Judgement, shown: Shown | None) -> None:
        """Count one attack with the victim's own credential."""
        self.controls += 1
        self.seen += judgement.violation
        if shown is not None and shown.signals:
            self.control_signals.append((shown.member, shown.signals))

    @property
    def trials(self) -> int:
        return self.across + self.within

    @property
    def held(self) -> bool:
        """Nothing was seen, and no guess is better than chance."""
        return not self.noticed

    @property
    def noticed(self) -> int:
        """How many attacks saw something, and by how many signals a member can be told."""
        return self.violations + len(self._told(self.signals))

    @property
    def controlled(self) -> bool:
        """The same judge sees a leak where there is one."""
        enough = self.controls > 0 and self.seen >= _SEEN_AT_LEAST * self.controls
        return enough and (not self.signals or bool(self._told(self.control_signals)))

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        inference = {"inference": self._inference()} if self.signals else {}
        return {
            "tags": list(self.attack.tags),
            "attacks": self.trials,
            "cross_tenant_leaks": self.cross_tenant,
            "violations": self.violations,
            "held": self.held,
            "control": {"attacks": self.controls, "seen": self.seen, "works": self.controlled},
            "findings": dict(self.findings),
            **inference,
        }

    def _inference(self) -> dict[str, Any]:
        return {
            "confidence": f"{_CONFIDENCE}, for all signals together (Bonferroni)",
            "attacker": _guesses(self.signals),
            "control": _guesses(self.control_signals),
        }

    def _told(self, signals: Signals) -> list[str]:
        """The signals by which a member can be told: whose interval does not hold 0.5."""
        guesses = _guesses(signals)
        return [name for name, one in guesses.items() if not one["low"] <= 0.5 <= one["high"]]


def _guesses(signals: Signals) -> dict[str, dict[str, float]]:
    members = [one for member, one in signals if member]
    others = [one for member, one in signals if not member]
    if len(members) < 2 or len(others) < 2:
        return {}
    confidence = 1 - (1 - _CONFIDENCE) / len(members[0])
    guesses = {}
    for name in members[0]:
        area = auc([one[name] for one in members], [one[name] for one in others], confidence)
        guesses[name] = {
            "auc": round(area.value, 4),
            "low": round(area.low, 4),
            "high": round(area.high, 4),
        }
    return guesses


def controlled(number: int) -> bool:
    """Whether the attack of this number has its control: the first ones, so that a short run has
    enough, and then every fifth."""
    return number < _FIRST or number % _CONTROL_EACH == 0


async def launched(attempt: Attempt, attack: Attack) -> tuple[Judgement, Shown | None]:
    """Make one attack and judge it. What the second line of defence stops, the first let through:
    that is a leak."""
    try:
        shown = await attack.run(attempt)
    except CrossTenantError:
        return Judgement(True, True, "the second line of defence had to stop it"), None
    return judge(attempt, shown), shown


async def attempted(world: World, attack: Attack, seed: str, tally: Tally, control: bool) -> None:
    """One attack; with `control` once more, with the victim's own credential."""
    for controlling in (False, True) if control else (False,):
        random = Random(seed)
        attacker, victim = attack.parties(world, random)
        caller = victim if controlling else attacker
        attempt = Attempt(world, attacker, victim, caller, random)
        judgement, shown = await launched(attempt, attack)
        if controlling:
            tally.add_control(judgement, shown)
        else:
            tally.add(attempt, judgement, shown)


async def campaign(world: World, attack: Attack, trials: int, seed: int) -> Tally:
    """`trials` attacks, one after the other."""
    tally = Tally(attack)
    for number in range(trials):
        control = controlled(number)
        await attempted(world, attack, f"{seed}/{attack.name}/{number}", tally, control)
    return tally


async def campaigns(
    world: World,
    attacks: Mapping[Attack, int],
    seed: int,
    progress: Callable[[str], object] = lambda name: None,
    run: Callable[[World, Attack, int, int], Awaitable[Tally]] = campaign,
) -> list[Tally]:
    """Class after class; `progress` is told each one's name."""
    tallies = []
    for attack, trials in attacks.items():
        progress(attack.name)
        tallies.append(await run(world, attack, trials, seed))
    return tallies


def summary(tallies: Sequence[Tally]) -> dict[str, Any]:
    """The two rates and the classes behind them."""
    trials, across = (sum(getattr(one, what) for one in tallies) for what in ("trials", "across"))
    within = sum(one.within for one in tallies)
    leaks = sum(one.cross_tenant for one in tallies)
    violations = sum(one.violations for one in tallies)
    inside = sum(one.violations for one in tallies if one.within)
    return {
        "attacks": trials,
        "controls": sum(one.controls for one in tallies),
        "ctlr": rate(leaks, across),
        "avr": rate(violations, trials),
        "avr_within_a_tenant": rate(inside, within),
        "held": all(one.held for one in tallies),
        "controlled": all(one.controlled for one in tallies),
        "classes": {one.attack.name: one.as_json() for one in tallies},
    }
