"""What masking finds and what it leaves alone, stock Presidio beside ours, in one process.

The rules were written with the development halves in sight. Thresholds are judged on the halves
that were held out: other templates, other sentences, other values.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evals.privacy import answers, context, first_token, hard, stalls, workers
from evals.privacy.clean import BRANDS, clean
from evals.privacy.first_token import Gateway
from evals.privacy.retail import products, retail
from evals.privacy.samples import DEVELOPMENT, HELD_OUT, Sample
from evals.privacy.scores import Scores, rate
from evals.privacy.thresholds import judged
from isolation.masking.detector import PresidioDetector
from isolation.masking.entities import VERSION
from isolation.masking.findings import Detector, without_overlaps
from isolation.masking.stock import StockPresidio

_TURN = 200  # characters
_REQUESTS = 40
_PRICES = ("$49.99", "59 euros", "NOK 1,299", "£24.50")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much: messages of each half, and the seed of all that is drawn. gateway: one that runs
    on a real engine; None, nothing is measured through one."""

    messages: int
    clean: int
    seed: int
    data: Path | None
    gateway: Gateway | None = None


def measure(plan: Plan, progress: Callable[[str], object]) -> dict[str, Any]:
    """Run it all. `progress`: told what begins."""
    progress("loading the models")
    detectors: dict[str, Detector] = {"ours": PresidioDetector(), "stock": StockPresidio()}
    result: dict[str, Any] = {
        "plan": {"messages": plan.messages, "clean": plan.clean, "seed": plan.seed},
        "recognizers": VERSION,
        "halves": (
            "Rules were written with the development halves in sight; of the held-out halves only "
            "totals were seen. Templates, frames and values differ between the halves."
        ),
    }
    for name, samples in _sets(plan):
        progress(name)
        result[name] = samples if isinstance(samples, dict) else _compared(detectors, samples)
        if name == "generated":
            result["answers"] = _answers(detectors["ours"], samples, plan)
    progress("hard strings")
    result["hard_strings"] = {name: hard.score(each) for name, each in detectors.items()}
    progress("false alarms")
    result["false_alarms"] = _alarms(detectors, clean(plan.clean, plan.seed))
    result["goods"] = _goods(detectors, plan.data)
    progress("latency")
    result["turn_of_200_characters"] = _latencies(detectors)
    progress("the event loop beside it")
    result["event_loop"] = stalls.measured()
    result["workers"] = workers.measured()
    progress("passages")
    result["context"] = asyncio.run(context.measure())
    progress("the first token")
    result["first_token"] = _first_token(plan.gateway)
    result["thresholds"] = judged(result)
    return result


def _sets(plan: Plan) -> Iterable[tuple[str, list[Sample] | dict[str, Any]]]:
    """The annotated sets; why one is not there, where it is not."""
    if find_spec("presidio_evaluator") is None:
        yield "generated", {"skipped": "pip install --no-deps -r requirements/bench.lock"}
    else:
        from evals.privacy.generated import generated

        yield "generated", generated(plan.messages, plan.seed)
    if plan.data is None:
        yield "retail", {"skipped": "no --data FOLDER with a db.json of users and orders"}
    else:
        yield "retail", retail(plan.data, plan.messages, plan.seed)


def _answers(
    detector: Detector, samples: list[Sample] | dict[str, Any], plan: Plan
) -> dict[str, Any]:
    """Names and addresses in answers, that were in nothing the request held."""
    if isinstance(samples, dict):
        return samples
    return asyncio.run(answers.measured(detector, samples, plan.clean, plan.seed))


def _first_token(gateway: Gateway | None) -> dict[str, Any]:
    if gateway is None:
        return {"skipped": "no --gateway URL of a gateway on a real engine"}
    return asyncio.run(first_token.measure(gateway, _REQUESTS))


def _compared(detectors: dict[str, Detector], samples: Sequence[Sample]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, detector in detectors.items():
        halves = {half: Scores() for half in (HELD_OUT, DEVELOPMENT)}
        for sample in samples:
            halves[sample.half].add(sample, without_overlaps(detector.find(sample.text)))
        result[name] = {half: scores.as_json() for half, scores in halves.items()}
    return result


def _alarms(detectors: dict[str, Detector], samples: Sequence[Sample]) -> dict[str, Any]:
    result: dict[str, Any] = {"brands_in_them": list(BRANDS), "allow_list": []}
    for name, detector in detectors.items():
        alarms = [(sample.half, bool(detector.find(sample.text))) for sample in samples]
        held = [alarm for half, alarm in alarms if half == HELD_OUT]
        result[name] = {
            "all": rate(sum(alarm for _, alarm in alarms), len(alarms)),
            HELD_OUT: rate(sum(held), len(held)),
        }
    return result


def _goods(detectors: dict[str, Detector], data: Path | None) -> dict[str, Any]:
    """Product names and prices in a customer's sentence: what of them is masked."""
    if data is None:
        return {"skipped": "no --data FOLDER with a db.json of products"}
    texts = [
        f"Do you have the {name} for {price}, and is a {name} cheaper in May?"
        for name in products(data)
        for price in _PRICES
    ]
    return {
        name: {"masked": rate(sum(bool(each.find(text)) for text in texts), len(texts))}
        for name, each in detectors.items()
    }


def _latencies(detectors: dict[str, Detector]) -> dict[str, Any]:
    """Milliseconds to analyse one turn, asked by turns so that both have the same machine."""
    text = (
        "Hello, my name is Maria Lopez and I ordered a tent two weeks ago. It should be sent to "
        "24 Elm Street in Denver, CO 80279, but nothing has come. Please call me on "
    )
    spent: dict[str, list[float]] = {name: [] for name in detectors}
    for number in range(105):
        turn = f"{text}+1 303 555 {number:04} today, thanks!"[:_TURN].ljust(_TURN, ".")
        for name, detector in detectors.items():
            begun = time.perf_counter()
            detector.find(turn)
            spent[name].append((time.perf_counter() - begun) * 1000)
    return {
        name: {
            "p50_ms": round(statistics.median(times[5:]), 2),
            "p99_ms": round(statistics.quantiles(times[5:], n=100)[98], 2),
        }
        for name, times in spent.items()
    }
