"""Logs and crash reports hold no text, however it got to them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import crashes
from serving.log_fields import only_known

WORD = "canary7f3a"


def _written(folder: Path, *more: str) -> tuple[list[str], str]:
    """The lines of the log, and what was written to standard output and error."""
    log = folder / "logs" / "own.log"
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.speaks", str(log), WORD, *more],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 70, done.stderr
    return log.read_text().splitlines(), done.stdout + done.stderr


def test_no_text_is_in_a_log_or_a_crash_report(tmp_path: Path) -> None:
    lines, shown = _written(tmp_path)
    events = [json.loads(line) for line in lines]
    assert [line for line in lines if WORD in line] == []
    assert WORD not in shown
    # The controls: all of it was told, by kind and by place.
    assert {"request", "said", "text_dropped", "library.message", "failed"} == {
        event["event"] for event in events
    }
    assert [event["error"] for event in events if event["event"] == "failed"] == ["ValueError"] * 2
    assert {event.get("logger") for event in events} >= {"library", "py.warnings", "asyncio"}
    assert events[0] | {"timestamp": ""} == {
        "event": "request",
        "level": "warning",
        "route": "/v1/search",
        "status": 200,
        "tenant": "acme",
        "timestamp": "",
    }
    assert shown.count("bulkhead: ValueError") >= 3  # a thread, a finalizer, the program
    assert "speaks.py" in shown


def test_a_log_that_takes_what_it_is_told_is_caught(tmp_path: Path) -> None:
    lines, shown = _written(tmp_path, "leaky")
    assert sum(WORD in line for line in lines) >= 6
    assert WORD in shown


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=5), st.text(max_size=60))
def test_a_text_of_several_words_never_passes(fields: dict[str, str], event: str) -> None:
    kept = only_known({**fields, "event": f"{event} {WORD}"})
    assert WORD not in str(kept)
    assert not any(" " in str(value) for value in kept.values())


@pytest.mark.parametrize("field", ["prompt", "text", "query", "path", "document", "message"])
def test_a_field_that_nobody_knows_never_passes(field: str) -> None:
    assert only_known({"event": "said", field: WORD}) == {"event": "said", "dropped": 1}


def test_a_crash_deep_in_a_library_tells_where_this_program_called_it() -> None:
    calls: dict[str, Any] = {}
    file = Path(crashes.__file__).with_name("made_up.py")
    exec(compile("def ours(library): library(20)", file, "exec"), calls)

    def library(depth: int) -> None:
        if depth == 0:
            raise KeyError("canary")
        library(depth - 1)

    with pytest.raises(KeyError) as crash:
        calls["ours"](library)
    told = crashes.places(crash.tb)
    assert f"{file}:1 ours" in told
    assert len(told) == 5
    assert "canary" not in "".join(told)
