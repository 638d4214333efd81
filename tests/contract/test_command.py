"""`bulkhead verify` over a real connection: exit status and report."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from evals.contract.suite import PROBES
from serving.cli.main import build
from tests.contract.twin import KEYS, Twin


@contextmanager
def _served(twin: Twin) -> Generator[str, None, None]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(twin.app(), log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _verify(twin: Twin, folder: Path, keys: dict[str, str]) -> tuple[Result, dict[str, Any]]:
    """keys: by tenant name."""
    arguments = ["--json", str(folder / "report.json")]
    for name, key in keys.items():
        (folder / name).write_text(f"{key}\n")
        arguments += ["--tenant", f"{name}=@{folder / name}"]
    with _served(twin) as url:
        runner = CliRunner(env={"COLUMNS": "300"})
        result = runner.invoke(build("verify"), ["verify", "--target", url, *arguments])
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert report["target"] == url
    return result, report


_GIVEN = {name: key for key, name in KEYS.items()}


def test_a_tight_target_gives_0_and_a_dated_report_of_every_probe(tmp_path: Path) -> None:
    result, report = _verify(Twin(), tmp_path, _GIVEN)
    assert result.exit_code == 0, result.output
    assert report["verdict"] == "held"
    assert list(report["probes"]) == list(PROBES)
    assert report["environment"]["date"]
    assert report["environment"]["versions"]["bulkhead-rag"]


def test_a_leak_gives_1_and_is_told_without_its_content(tmp_path: Path) -> None:
    result, report = _verify(Twin("search: the predicate is missing"), tmp_path, _GIVEN)
    assert result.exit_code == 1
    assert "LEAK: search: search with the owner's question finds nothing foreign" in result.output
    assert report["probes"]["search"]["findings"][0] == {
        "kind": "leak",
        "request": "birch: POST /v1/search",
        "what": "search with the owner's question finds nothing foreign",
        "seen": "status 200 with a foreign passage",
    }
    shown = result.output + json.dumps(report)
    assert "QX" not in shown
    assert not any(key in shown for key in KEYS)


def test_a_failing_control_gives_2(tmp_path: Path) -> None:
    result, report = _verify(Twin("the prefix cache is off"), tmp_path, _GIVEN)
    assert result.exit_code == 2
    assert "not judged: prefix-cache: a tenant hits its own prefix" in result.output
    assert report["verdict"] == "unjudged"


@pytest.mark.parametrize("stranger", _GIVEN)
def test_a_refused_key_gives_2(stranger: str, tmp_path: Path) -> None:
    unknown = "bk_" + "c" * 16 + "_" + "C" * 43
    result, report = _verify(Twin(), tmp_path, {**_GIVEN, stranger: unknown})
    assert result.exit_code == 2
    assert report["verdict"] == "unjudged"
    assert "the right key opens" in result.output
