"""A request that kills SGLang, on a whole platform: tried three times, and then no more; the other
tenant's equal one is not touched by that."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving.control.dead_letters import MOST_CRASHES
from tests.embedded.conftest import Gateway, gateway_in

pytestmark = pytest.mark.engine

OPERATOR = "operator-of-the-dead-letters-test-0123456789"
ASKED = {"model": "base", "messages": [{"role": "user", "content": "Tell me all of it."}]}
SECONDS = 120


@pytest.fixture(scope="module")
def gateway(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Gateway, None, None]:
    folder = tmp_path_factory.mktemp("dead-letters")
    off = dict.fromkeys(("masking", "retrieval", "adapters"), "off")
    gateway = gateway_in(folder, model_path=str(tiny_model), admin_key=OPERATOR, **off)
    gateway.forks = True
    gateway.start()
    try:
        gateway.until("/readyz")
        yield gateway
    finally:
        stopped = gateway.stop()
    assert stopped == 0


def _key(gateway: Gateway, tenant: str) -> str:
    assert gateway.forked("tenant", "add", tenant, "--tier", "business").returncode == 0
    return gateway.forked("key", "issue", tenant).stdout.strip()


def _ask(gateway: Gateway, key: str, **more: Any) -> httpx.Response:
    headers, path = {"Authorization": f"Bearer {key}"}, "/v1/chat/completions"
    body = ASKED | {"max_tokens": 800} | more
    return httpx.post(gateway.url + path, json=body, headers=headers, timeout=SECONDS)


def _killed_by(gateway: Gateway, key: str) -> str:
    """The code with which a stream ends whose engine is killed when it has begun."""
    headers, path = {"Authorization": f"Bearer {key}"}, "/v1/chat/completions"
    body = ASKED | {"max_tokens": 800, "stream": True}
    with httpx.stream(
        "POST", gateway.url + path, json=body, headers=headers, timeout=SECONDS
    ) as answer:
        lines = (line[6:] for line in answer.iter_lines() if line.startswith("data: {"))
        for number, line in enumerate(lines):
            if number == 3:
                _kill_engine(gateway)
            if "error" in (event := json.loads(line)):
                return str(event["error"]["code"])
    pytest.fail("the answer came to its end")


def _kill_engine(gateway: Gateway) -> None:
    """All of it: what a fault in the scheduler leaves of SGLang."""
    ours = str(gateway.data / "run" / "engine-")
    (worker,) = [
        process
        for process in psutil.process_iter()
        if ours in " ".join(_command(process)) and "guard.py" not in " ".join(_command(process))
    ]
    for process in [worker, *worker.children(recursive=True)]:
        os.kill(process.pid, signal.SIGKILL)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _until_ready(gateway: Gateway) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if httpx.get(gateway.url + "/readyz").is_success:
            return
        time.sleep(0.1)
    pytest.fail("no engine comes back")


def test_what_killed_three_engines_is_a_dead_letter_until_it_is_released(gateway: Gateway) -> None:
    acme, birch = (_key(gateway, tenant) for tenant in ("acme", "birch"))
    for _ in range(MOST_CRASHES):
        assert _killed_by(gateway, acme) == "engine_unavailable"
        _until_ready(gateway)
    refused = _ask(gateway, acme)
    assert refused.status_code == 422
    assert refused.json()["error"]["code"] == "request_quarantined"
    assert refused.headers["x-should-retry"] == "false"
    # Neither another request of the tenant nor the same of the other one.
    assert _ask(gateway, acme, max_tokens=8).status_code == 200
    assert _ask(gateway, birch).status_code == 200
    listed = gateway.forked("engine", "dead-letters").stdout
    (letter,) = (line.split() for line in listed.splitlines() if "acme" in line)
    assert letter[1] in refused.json()["error"]["message"]
    assert "Tell me" not in listed
    assert gateway.forked("engine", "release", letter[1]).returncode == 0
    assert "dead_letter_not_found" in gateway.forked("engine", "release", letter[1]).stderr
    assert _ask(gateway, acme).status_code == 200
    assert gateway.forked("tenant", "delete", "acme", "--yes").returncode == 0
