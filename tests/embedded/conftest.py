"""`bulkhead serve` as a newcomer starts it: a process of its own, every part real.

Only the model is not the default one: two random layers under the real tokenizer. So what is
retrieved, cited, cached and logged is tested, and the prose is not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from serving.cli.engine import Model, prepared
from serving.cli.main import main
from serving.engine.launch import free_port
from serving.settings import Settings
from tests.collector import Collector, collector
from tests.embedded.forks import Forked, bulkhead
from tests.zygote.environment import real_engine

BULKHEAD = Path(sys.executable).with_name("bulkhead")
MERCHANTS = Path(__file__).parents[2] / "examples" / "merchants"
START_SECONDS = 300


@dataclass
class Gateway:
    """A gateway process, or its data folder after its end.

    forks: it starts from a process that has the libraries loaded, where the start is not the test.
    """

    data: Path
    port: int
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | Forked | None = None
    forks: bool = False
    collector: Collector | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> Path:
        return self.data.with_name("output.txt")

    def start(self, *arguments: str) -> None:
        environment = os.environ | self.environment
        if self.forks:
            command = ["bulkhead", "serve", *arguments]
            self.process = Forked(main, command, environment, self.output, self.output)
            return
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [BULKHEAD, "serve", *arguments], env=environment, stdout=output, stderr=output
            )

    def until(self, path: str) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self.process is not None
            assert self.process.poll() is None, self.output.read_text()
            try:
                if httpx.get(self.url + path).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        pytest.fail(f"not ready: {self.output.read_text()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command as a shell starts it."""
        environment = os.environ | self.environment | {"COLUMNS": "200"}
        return subprocess.run(
            [BULKHEAD, *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def forked(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in a tenth of the time: for all but the first of many."""
        return bulkhead(arguments, os.environ | self.environment | {"COLUMNS": "200"})

    @property
    def demo(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.data / "demo.json").read_text())
        return content

    def key(self, tenant: str) -> str:
        (key,) = (t["api_key"] for t in self.demo["tenants"] if t["id"] == tenant)
        return str(key)

    def client(self, tenant: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key(tenant), max_retries=0)


def gateway_in(folder: Path, **settings: str) -> Gateway:
    port = free_port()
    environment = {
        "BULKHEAD_DATA_DIR": str(folder / "data"),
        "BULKHEAD_PORT": str(port),
    } | {f"BULKHEAD_{name.upper()}": value for name, value in settings.items()}
    return Gateway(folder / "data", port, environment)


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    return prepared(Settings(), Model.tiny)


@pytest.fixture(scope="session")
def gateway(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Gateway, None, None]:
    """The demo, ready; its engine's start is a real one."""
    settings = {"model_path": str(tiny_model), "engine_venv": str(real_engine())}
    gateway = gateway_in(tmp_path_factory.mktemp("demo"), **settings)
    with collector() as gateway.collector:
        traces = f"http://127.0.0.1:{gateway.collector.server_port}"
        gateway.environment |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": traces,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        gateway.start("--demo", str(MERCHANTS))
        gateway.until("/readyz")
        while not (gateway.data / "demo.json").exists():
            time.sleep(0.1)
        yield gateway
        assert gateway.stop() == 0


@pytest.fixture
def quick_gateway(tmp_path: Path) -> Generator[Gateway, None, None]:
    """Everything but an engine: starts in seconds. Not started."""
    gateway = gateway_in(tmp_path, engine_urls='["http://127.0.0.1:9"]', masking="off")
    gateway.forks = True
    yield gateway
    if gateway.process is not None and gateway.process.poll() is None:
        gateway.stop(signal.SIGKILL)
