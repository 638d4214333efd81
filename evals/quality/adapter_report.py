"""Base against adapter on the same questions: shares, and the paired bootstrap of differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from evals.quality.adapter_answers import HeldOut, Verdict
from evals.statistics import mean_with_interval, share

Answers = Sequence[tuple[HeldOut, Verdict, Verdict]]
Judge = Callable[[Verdict], bool]


def report(asked_of: dict[str, list[tuple[HeldOut, Verdict, Verdict]]]) -> dict[str, Any]:
    """For each merchant and all: every measure on the questions that it is about."""
    everything = [one for answers in asked_of.values() for one in answers]
    return {
        "measures": {name: measures(own) for name, own in (asked_of | {"all": everything}).items()},
        "answers": {tenant: told(answers) for tenant, answers in asked_of.items()},
    }


def measures(answers: Answers) -> dict[str, Any]:
    """Each measure: base, adapter, difference. `refused`: by the gateway, before any model."""
    facts = [one for one in answers if one[0].fact is not None]
    # What the gateway refuses is refused for both, and says nothing of a model.
    absent = [one for one in answers if one[0].fact is None and not one[1].refused]
    customers = [one for one in facts if one[0].customer is not None]
    return {
        "fact": compared(facts, lambda v: v.fact),
        "fact_with_its_passage_cited": compared(facts, lambda v: v.fact and v.cited),
        "fact_of_fresh_questions": compared([a for a in facts if a[0].fresh], lambda v: v.fact),
        "right_passage_cited": compared(facts, lambda v: v.cited),
        "right_passage_cited_where_it_is_not_the_first": compared(
            [one for one in facts if not one[1].first_holds], lambda v: v.cited
        ),
        "right_if_always_the_first_were_cited": share(
            sum(base.first_holds for _, base, _ in facts), len(facts)
        ),
        "customer_named": compared(customers, lambda v: v.named),
        "customer_named_and_fact": compared(customers, lambda v: v.named and v.fact),
        "declined_without_need": compared(facts, lambda v: v.declined),
        "declined_where_nothing_answers": compared(absent, lambda v: v.declined),
        "ended_by_itself": compared([*facts, *absent], lambda v: v.ended),
        "refused_by_the_gateway": sum(base.refused for _, base, _ in answers),
    }


def compared(answers: Answers, judge: Judge) -> dict[str, Any]:
    """Both shares, and the difference with the interval of the paired bootstrap."""
    base = [judge(verdict) for _, verdict, _ in answers]
    own = [judge(verdict) for _, _, verdict in answers]
    shares = {"base": share(sum(base), len(base)), "adapter": share(sum(own), len(own))}
    if not answers:
        return shares
    differences = [float(o) - float(b) for b, o in zip(base, own, strict=True)]
    return shares | {"difference": mean_with_interval(differences)}


def told(answers: Answers) -> list[dict[str, Any]]:
    """Each question with both answers."""
    return [
        asdict(asking) | {"base": _told(base), "adapter": _told(own)}
        for asking, base, own in answers
    ]


def _told(verdict: Verdict) -> dict[str, Any]:
    return {
        key: value for key, value in asdict(verdict).items() if key not in ("model", "question")
    }
