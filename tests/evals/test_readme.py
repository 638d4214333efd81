"""Every number of README's results table is in the committed results, at the digits shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.evals.shown import Source, at, cell_says, numbers, of, says

_README = Path(__file__).parents[2] / "README.md"
_ROW = re.compile(r"^\| (.+) \| (.+) \| `(bulkhead (?:bench|eval|verify).*)` \|$", re.MULTILINE)
_SIZES = ("largest", "median", "smallest")


class Row(NamedTuple):
    """what: how the first cell begins. figures: where each number of the second one is from, in
    order. named: the same of the first cell, where it holds results too."""

    what: str
    figures: Sequence[Source]
    named: Sequence[Source] = ()


def each(source: str, *names: str) -> list[str]:
    """The same of all that are named."""
    return [source.format(name) for name in names]


def seconds(source: str) -> Callable[[], float]:
    """Of a result in milliseconds."""
    return lambda: float(at(source)) / 1_000


def hundreds(source: str) -> Callable[[], float]:
    """To the next hundred."""
    return lambda: float(round(at(source), -2))


def merchants(name: str, measure: str) -> Callable[[], float]:
    """Of the demo's two together."""
    return lambda: float(sum(each[measure] for each in at(f"{name}:summary").values()))


def boundaries() -> float:
    """Of all probes."""
    return float(sum(probe["boundaries"] for probe in at("isolation:probes").values()))


def hard_strings() -> float:
    """How many were masked."""
    whole = at("masking:hard_strings/ours/all")
    return float(whole["value"] * whole["n"])


def kinds() -> float:
    """Of hard strings."""
    return float(sum(name.startswith("kind: ") for name in at("masking:hard_strings/ours")))


def passing_memory() -> float:
    """The most of all sizes, in MiB."""
    return float(max(size["passing_mib"] for size in at("ingest:memory/sizes")))


def refused() -> float:
    """Of the fresh questions that nothing answers."""
    passed = at("quality:refusal/fresh/let_through/all")
    return float(passed["of"] - passed["count"])


ROWS = (
    Row(
        "right passage cited, of",
        [merchants("demo", "right_passage"), merchants("demo", "foreign")],
        [merchants("demo", "answers")],
    ),
    Row(
        "answers of a 135M model",
        [merchants("demo", "fact_in_answer"), merchants("demo-float32", "fact_in_answer")],
        [135, merchants("demo", "answers")],
    ),
    Row("boundaries that held", [boundaries, boundaries]),
    Row(
        "added by the gateway",
        each("gateway:cells/{}/added_p50_ms", "0", "2"),
        ["gateway:cells/0/concurrency"],
    ),
    Row(
        "requests per second at",
        each("gateway:cells/{}/gateway/requests_per_second", "1", "3"),
        ["gateway:cells/1/concurrency"],
    ),
    Row("decoding on the CPU", each("engine:phases/decode, {}/times", "1 stream", "8 streams")),
    Row(
        "prefill against",
        each("engine:phases/{}/times", "prefill", "prefill after a cached prefix"),
    ),
    Row("metered against busy", ["engine:metering/ratio"]),
    Row("prefix hits in chats", each("prefix:chats/{}/hit_rate", "scrub_on", "stock")),
    Row(
        "quiet tenants' hits while",
        [
            "prefix:flood/scrub_on/during",
            "prefix:flood/scrub_on/alone",
            seconds("prefix:flood/scrub_on/first_token_during/p99_ms"),
            "prefix:flood/stock/during",
            seconds("prefix:flood/stock/first_token_during/p99_ms"),
        ],
        [16_384, hundreds("prefix:flood/scrub_on/flood_tokens")],
    ),
    Row(
        "a new tenant's first token",
        [seconds(f"public-prefix:public/{side}/first_token_ms") for side in ("with", "without")],
        each("public-prefix:public/{}", "with/prompt_tokens", "public_tokens"),
    ),
    Row(
        "longest wait of a running answer",
        [seconds(f"long-prefill:rows/{row}/longest_gap_ms") for row in (4, 5)],
        [3_000],
    ),
    Row(
        "a chat of a tenant without tools",
        [
            f"grammars:{side}/{figure}"
            for side in ("ours", "stock")
            for figure in ("beside_schemas_ms/p50", "beside_schemas_ms/max", "alone_ms/p50")
        ],
    ),
    Row(
        "served of a limit",
        each("limits:sides/{}/most", "reserved", "counted_after"),
        ["limits:plan/clients"],
    ),
    Row(
        "what tenancy costs SGLang",
        [
            *each("prefix-cost:speed/{}/scrub_off/cost", "prefill", "decode"),
            *each("prefix-cost:speed/{}/scrub_on/cost", "prefill", "decode"),
        ],
    ),
    Row(
        "times of 250 prompts",
        each("timing:times/kinds/{}/p", "foreign", "own"),
        each("timing:times/{}", "trials", "trials"),
    ),
    Row(
        "place of the right guess",
        [
            *each("timing:order/sides/ours/{}", "mean_rank", "chance", "p"),
            *each("timing:order/sides/shared/{}", "mean_rank", "p"),
        ],
    ),
    Row(
        "making room for a prefix",
        [
            *each("engine-cache:rows/{}/tenants_us", "0", "2"),
            *each("engine-cache:rows/{}/stock_us", "0", "2"),
        ],
        each("engine-cache:rows/{}/leaves", "0", "2"),
    ),
    Row("recall@10 of the largest", each("retrieval:optimized/{}/recall_at_10", *_SIZES)),
    Row(
        "the same by filtering after",
        each("retrieval:as_written/{}/recall_at_10_post_filtered", *_SIZES),
    ),
    Row(
        "hybrid search of the largest",
        [
            *each("retrieval:optimized/largest/ours/{}_ms", "p50", "p99"),
            *each("retrieval:optimized/largest/raw/{}_ms", "p50", "p99"),
        ],
        ["retrieval:optimized/largest/points"],
    ),
    Row(
        "what our layer adds",
        [
            *each("retrieval:optimized/{}/cost", *_SIZES),
            *each("retrieval:optimized/{}/raw/p50_ms", "smallest", "largest"),
        ],
    ),
    Row("p50 of a tenant of 1,000", ["retrieval:growth/p50_ratio_optimized"]),
    Row(
        "nDCG@10 of dense",
        each(
            "quality:ranking/support_kb/test/ways/{}/ndcg_at_10/mean",
            *("dense", "sparse", "hybrid", "hybrid_rewritten"),
        ),
        ["quality:ranking/support_kb/test/questions", "quality:corpora/support_kb"],
    ),
    Row("ingestion against", [passing_memory]),
    Row(
        "a question's wait",
        [
            *each("neighbours:embedding/ms/{}/p50", "alone", "in_turns"),
            seconds("neighbours:embedding/ms/first_come/p50"),
            *each("neighbours:masking/ms/{}/p50", "alone", "in_turns"),
            seconds("neighbours:masking/ms/first_come/p50"),
            *each("neighbours:prompts/ms/{}/p50", "alone", "in_turns"),
            seconds("neighbours:prompts/ms/first_come/p50"),
        ],
        each("neighbours:{}/characters_of_each", "masking", "prompts"),
    ),
    Row(
        "questions refused",
        ["quality:refusal/fresh/false_refusals/count", refused],
        each("quality:refusal/fresh/{}/of", "false_refusals", "let_through/all"),
    ),
    Row(
        "base model against the demo's",
        [
            source
            for measure in (
                *("fact_with_its_passage_cited", "fact"),
                *("right_passage_cited", "ended_by_itself"),
            )
            for source in each(
                f"adapters-quality:measures/all/{measure}/{{}}/share", "base", "adapter"
            )
        ],
        ["adapters-quality:measures/all/fact/base/of"],
    ),
    Row(
        "tokens per second of eight",
        each(
            "adapters-bench:throughput/{}/of_base_only_off",
            *("base only, adapters on", "one adapter"),
            *("4 adapters, as fit a batch", "8 adapters, more than fit"),
        ),
    ),
    Row(
        "first token of an adapter",
        [
            seconds(f"adapters-bench:first_token/{kind}/p50_ms")
            for kind in ("resident", "warm", "cold", "base")
        ],
    ),
    Row(
        "answers of the right adapter",
        each(
            "adapters:{}",
            *("answers/right", "requests", "cache/unexplained/events", "cache/calls"),
        ),
        [9, *each("adapters:{}", "places", "cache/reloads", "shifts")],
    ),
    Row(
        "cross-tenant leaks",
        [
            *("leakage:store/ctlr/events", 0.95, "leakage:store/ctlr/upper_95"),
            *each("leakage:routes/ctlr/{}", "events", "upper_95"),
            *each("leakage:concurrent/ctlr/{}", "events", "upper_95"),
        ],
        [
            *each("leakage:{}/attacks", "store", "routes", "concurrent"),
            "leakage:concurrent/tenants",
        ],
    ),
    Row("the same queries without", ["leakage:ungated/ctlr/rate"]),
    Row(
        "a turn of 200 characters",
        each("masking:turn_of_200_characters/{}/p50_ms", "ours", "stock"),
    ),
    Row(
        "first token with masking",
        ["masking:first_token/ratio_of_p50", "masking:context/added_ms"],
        ["masking:context/characters"],
    ),
    Row(
        "persons and street addresses",
        each(
            "masking:answers/{}/value",
            *("removed/PERSON", "removed/STREET_ADDRESS", "clean_and_changed"),
        ),
    ),
    Row(
        "masked whole",
        [hard_strings, "masking:false_alarms/ours/all/value"],
        ["masking:hard_strings/ours/all/n", kinds, "masking:false_alarms/ours/all/n"],
    ),
)


def _shown() -> list[tuple[str, str, str]]:
    """What, figure and command of each row that names one."""
    return _ROW.findall(_README.read_text())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_a_row_says_what_its_result_says(row: Row) -> None:
    cells = [(what, figure) for what, figure, _ in _shown() if what.startswith(row.what)]
    assert len(cells) == 1
    what, figure = cells[0]
    assert cell_says(figure, row.figures), [of(source) for source in row.figures]
    assert not row.named or cell_says(what, row.named), [of(source) for source in row.named]


def test_every_row_with_a_command_is_compared() -> None:
    assert len(_shown()) == len(ROWS)
    for what, _, command in _shown():
        assert any(what.startswith(row.what) for row in ROWS), f"{command}: {what}"


def test_ingestion_is_not_slower_than_the_model() -> None:
    assert at("ingest:rate/share_of_the_model") >= 1


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("38,720 us", 38_719.9, 38_719.4),
        ("-1.0%", -0.0102, 0.0102),
        ("0.25 (p50)", 0.2549, 0.256),
        ("41", 41, 42),
        ("below 0.030%", 0.000297, 0.00031),
        ("p < 1e-31", 1e-32, 1e-30),
    ],
)
def test_a_number_is_compared_at_the_digits_that_are_shown(
    text: str, right: float, wrong: float
) -> None:
    assert len(numbers(text)) == 1
    assert says(numbers(text)[0], right)
    assert not says(numbers(text)[0], wrong)
    assert not cell_says(text, [right, right])
