"""The judge of `bulkhead eval adapters`, on what never happened."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.adapters.judge import answers, hits
from evals.adapters.references import NAME, References
from evals.adapters.run import Status, status
from evals.adapters.tap import Call, Tap
from evals.adapters.traffic import Asked, Shift, Traffic
from evals.cli import eval_adapters
from evals.cli.eval import app

_BEGINNING = 10
_KNOWN = References(
    {
        ("acme", f"{NAME}@1", "q"): "one",
        ("acme", f"{NAME}@2", "q"): "two",
        ("acme", f"{NAME}@3", "q"): "three",
        ("birch", f"{NAME}@1", "q"): "theirs",
    },
    ("q",),
    1,
)
_SHIFTS = [Shift("acme", 0, 1, 1, 2), Shift("acme", 50, 51, 2, 3)]


def _asked(model: str, answer: str | None, at: float = 10, conversation: str = "c") -> Asked:
    return Asked("acme", model, conversation, "q", answer, at, at + 1)


def _kinds(*asked: Asked) -> dict[str, int]:
    judged: dict[str, int] = answers(Traffic(list(asked), _SHIFTS), _KNOWN)["wrong_by_kind"]
    return judged


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("two", "another version's"),
        ("theirs", "another tenant's"),
        ("other", "nobody's"),
        (None, "refused"),
    ],
)
def test_whatever_is_not_the_named_versions_answer_is_wrong(answer: str | None, kind: str) -> None:
    assert _kinds(_asked(f"{NAME}@1", answer)) == {kind: 1}
    assert _kinds(_asked(f"{NAME}@1", "one")) == {}


def test_a_bare_name_means_one_of_the_versions_of_its_moment() -> None:
    assert _kinds(_asked(NAME, "one"), _asked(NAME, "two")) == {}
    assert _kinds(_asked(NAME, "three")) == {"another version's": 1}
    assert _kinds(_asked(NAME, "one", at=60)) == {"another version's": 1}
    # While it is being shifted, either.
    assert _kinds(_asked(NAME, "one", at=50.5), _asked(NAME, "three", at=50.5)) == {}


def test_a_conversation_that_changes_its_version_between_shifts_is_seen() -> None:
    traffic = Traffic([_asked(NAME, "one"), _asked(NAME, "two", at=20)], _SHIFTS)
    assert answers(traffic, _KNOWN)["conversations"]["of_two_versions"] == 1
    traffic = Traffic([_asked(NAME, "one"), _asked(NAME, "three", at=60)], _SHIFTS)
    assert answers(traffic, _KNOWN)["conversations"]["of_two_versions"] == 0


def _tap(*calls: tuple[str, str, float, int]) -> Tap:
    """Calls of one prompt: tenant, load, when, and what was cached of its 100 tokens."""
    made = [
        Call(tenant, (load, 0), "system\nquestion", at, at + 1, 100, cached)
        for tenant, load, at, cached in calls
    ]
    versions = {("a1", 0): ("acme", NAME, 1), ("a2", 0): ("acme", NAME, 1)}
    return Tap(made, versions | {("b1", 0): ("birch", NAME, 1)})


def test_what_the_tenant_asked_before_under_the_same_load_explains_a_hit() -> None:
    found = hits(_tap(("acme", "a1", 0, 0), ("acme", "a1", 5, 99)), _BEGINNING)
    assert found["unexplained"]["events"] == 0
    assert found["own_repeated"] == {"hit": 1, "of": 1}


def test_a_hit_on_what_another_tenant_asked_is_foreign() -> None:
    found = hits(_tap(("birch", "b1", 0, 0), ("acme", "a1", 5, 99)), _BEGINNING)
    assert (found["foreign"]["events"], found["foreign"]["trials"]) == (1, 1)
    assert found["after_reload"]["trials"] == 0
    few = hits(_tap(("birch", "b1", 0, 0), ("acme", "a1", 5, 1)), _BEGINNING)
    assert few["foreign"]["events"] == 1  # nothing of its own was there, not even a beginning


def test_a_hit_after_a_reload_is_seen() -> None:
    found = hits(_tap(("acme", "a1", 0, 0), ("acme", "a2", 5, 99)), _BEGINNING)
    assert (found["after_reload"]["events"], found["after_reload"]["trials"]) == (1, 1)
    assert found["reloads"] == 1


def _result() -> dict[str, Any]:
    none = {"events": 0, "trials": 20, "upper_95": 0.14}
    return {
        "answers": {"wrong": none, "conversations": {"of_two_versions": 0}},
        "cache": {
            "unexplained": none,
            "foreign": none,
            "after_reload": none,
            "own_repeated": {"hit": 20, "of": 20},
            "reloads": 4,
        },
        "twins": {
            "one": {"caught": True, "wrong": none},
            "two": {"caught": True, "foreign": none, "after_reload": none},
        },
    }


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda r: None, Status.held),
        (lambda r: r["answers"]["wrong"].update(events=1), Status.leak),
        (lambda r: r["answers"]["conversations"].update(of_two_versions=1), Status.leak),
        (lambda r: r["cache"]["unexplained"].update(events=1), Status.leak),
        (lambda r: r["cache"]["after_reload"].update(trials=0), Status.uncontrolled),
        (lambda r: r["cache"]["own_repeated"].update(hit=1), Status.uncontrolled),
        (lambda r: r["cache"].update(reloads=0), Status.uncontrolled),
        (lambda r: r["twins"]["one"].update(caught=False), Status.uncontrolled),
        (lambda r: r["twins"]["two"].update(caught=False), Status.uncontrolled),
    ],
)
def test_the_status_tells_a_leak_from_what_was_not_seen(change: Any, wanted: Status) -> None:
    result = deepcopy(_result())
    change(result)
    assert status(result) is wanted


@pytest.mark.parametrize("caught", [True, False])
def test_the_command_shows_writes_and_exits_with_the_status(
    caught: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = deepcopy(_result())
    result["twins"]["one"]["caught"] = caught

    async def measured(*_: Any) -> dict[str, Any]:
        return result

    monkeypatch.setattr(eval_adapters, "prepared", lambda *_: tmp_path)
    monkeypatch.setattr(eval_adapters, "measure", measured)
    monkeypatch.setattr(eval_adapters, "log_to", lambda _: None)
    file = tmp_path / "adapters.json"
    ran = CliRunner().invoke(app, ["adapters", "--out", str(file)])
    assert ran.exit_code == (0 if caught else 2), ran.output
    assert json.loads(file.read_text())["answers"] == result["answers"]
