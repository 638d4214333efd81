"""`bulkhead bench masking`: its counting, and that a missed threshold fails the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from evals.privacy import masking
from evals.privacy.clean import clean
from evals.privacy.first_token import Gateway, measure
from evals.privacy.hard import hard_strings
from evals.privacy.samples import DEVELOPMENT, HELD_OUT, Sample, Span, filled
from evals.privacy.scores import Scores, rate
from isolation.masking.findings import Finding
from serving.cli.main import build
from tests.embedded.forks import deployed_forked

_TEXT = "I am Ada Lind, 8 Elm Road"
_SAMPLE = Sample(_TEXT, (Span(5, 13, "PERSON"), Span(15, 25, "STREET_ADDRESS")), HELD_OUT)


def _scored(*findings: Finding) -> Scores:
    scores = Scores()
    scores.add(_SAMPLE, findings)
    return scores


def test_half_a_value_is_recalled_and_not_hidden() -> None:
    scores = _scored(Finding(5, 9, "PERSON"))
    assert not scores.recalled["PERSON"]  # three letters of seven
    scores = _scored(Finding(9, 13, "PERSON"), Finding(0, 1, "PERSON"))
    assert scores.recalled["PERSON"] == 1
    assert scores.hidden["PERSON"] == 0
    assert (scores.right, scores.found) == (1, 2)


def test_another_kind_hides_and_does_not_recall() -> None:
    scores = _scored(Finding(5, 13, "USERNAME"))
    assert scores.hidden["PERSON"] == 1
    assert scores.recalled["PERSON"] == 0


def test_a_rate_has_wilsons_interval() -> None:
    assert rate(0, 0) == {"value": None, "n": 0}
    assert rate(9, 10) == {"value": 0.9, "ci95": [0.5958, 0.9821], "n": 10}


def test_templates_know_where_their_values_stand() -> None:
    values = {"name": ("Ada", "PERSON"), "goods": ("Lamp", "")}
    sample = filled('{"n": "{name}", "g": "{goods}"}', values, HELD_OUT)
    assert sample.text == '{"n": "Ada", "g": "Lamp"}'
    assert [sample.text[span.start : span.end] for span in sample.spans] == ["Ada"]


def test_the_sets_are_large_enough_and_halved() -> None:
    hard, harmless = list(hard_strings()), clean(500, seed=6)
    assert len(hard) >= 60
    assert len({each.kind for each in hard}) >= 15
    assert len({sample.text for sample in harmless}) == 500
    for samples in ([each.sample for each in hard], harmless):
        assert {sample.half for sample in samples} == {DEVELOPMENT, HELD_OUT}


class Nothing:
    def find(self, text: str) -> Sequence[Finding]:
        return []


def _no_stalls() -> dict[str, Any]:
    return {"in_a_process": {"max_gap_ms": 1.0}}


async def _no_context() -> dict[str, Any]:
    return {"added_ms": 5.0}


def test_a_detector_that_finds_nothing_fails_and_what_was_not_measured_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "PresidioDetector", Nothing)
    monkeypatch.setattr(masking, "StockPresidio", Nothing)
    monkeypatch.setattr(masking.stalls, "measured", _no_stalls)
    monkeypatch.setattr(masking.context, "measure", _no_context)
    monkeypatch.setattr(masking.workers, "measured", dict)
    saved = tmp_path / "masking.json"
    arguments = ["masking", "--messages", "50", "--clean", "50", "--out", str(saved)]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(build("bench"), ["bench", *arguments])
    assert result.exit_code == 1
    assert "Not measured: retail" in result.output
    report = json.loads(saved.read_text())
    missed = {row["what"] for row in report["thresholds"] if not row["met"]}
    assert "hard strings fully masked" in missed
    assert "generated: recall of PERSON" in missed
    assert "added by 8,000 characters of passages, ms" in missed
    assert "longest gap of the event loop, ms" not in missed
    assert report["first_token"]["skipped"]
    assert report["retail"]["skipped"]


def test_both_tenants_are_asked_and_shut_out_again(tmp_path: Path) -> None:
    """Through a gateway process with a stub engine: that it works, and no figure."""
    with deployed_forked(tmp_path, {}) as deployment:
        url, admin = deployment.gateway.url, deployment.admin_key
        result = asyncio.run(measure(Gateway(url, admin), requests=2))
        headers = {"Authorization": f"Bearer {admin}"}
        tenants = httpx.get(f"{url}/admin/v1/tenants", headers=headers).json()["data"]
    assert result["requests_of_each"] == 2
    assert min(result["p50_ms"].values()) > 0
    # The stub says of no tenant that its state is cleared: their deletion has begun.
    assert [one["id"] for one in tenants if one["state"] == "active"] == ["bench"]
