"""A gateway and a stub engine as processes of their own, each on a core of its own where it can."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from evals.performance.load import Target
from serving.engine.launch import free_port
from serving.errors import StartupError

_START_SECONDS = 120
_BULKHEAD = Path(sys.executable).with_name("bulkhead")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The same stub, directly and through the gateway, whose operator has `admin_key`."""

    direct: Target
    gateway: Target
    placement: str
    admin_key: str = field(repr=False)


@contextmanager
def deployed(folder: Path, settings: Mapping[str, str]) -> Generator[Deployment, None, None]:
    """Start both below `folder`, with one tenant; `settings` are the gateway's, without prefix.

    Raises:
        StartupError: one of them does not start.
    """
    admin = secrets.token_urlsafe(32)
    stub_port, port = free_port(), free_port()
    url, stub_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{stub_port}"
    own = {
        "DATA_DIR": str(folder / "data"),
        "PORT": str(port),
        "ADMIN_KEY": admin,
        "ENGINE_URLS": f'["{stub_url}"]',
    }
    environment = {f"BULKHEAD_{name}": value for name, value in {**own, **settings}.items()}
    stub = [sys.executable, "-m", "evals.performance.stub_engine", str(stub_port)]
    with ExitStack() as stack:
        gateways, others, placement = _divided()
        stack.enter_context(_placed(others))
        stack.enter_context(_process(stub, {}, folder / "stub.log"))
        with _placed(gateways):
            gateway = stack.enter_context(_gateway(environment, folder / "gateway.txt"))
        _until_ready(gateway, url, folder / "gateway.txt")
        direct = Target(stub_url, "none", "m")
        yield Deployment(direct, Target(url, _new_tenant(url, admin), "base"), placement, admin)


@contextmanager
def _placed(cores: set[int]) -> Generator[None, None, None]:
    """Children of the block inherit its cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _divided() -> tuple[set[int], set[int], str]:
    """The gateway's core, everybody else's, and how to call that."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        return cores, cores, "all on one core"
    first = {min(cores)}
    return first, cores - first, "gateway and Valkey on one core, stub and clients on the others"


def _gateway(
    environment: Mapping[str, str], log: Path
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return _process([str(_BULKHEAD), "serve"], environment, log)


@contextmanager
def _process(
    command: list[str], environment: Mapping[str, str], log: Path
) -> Generator[subprocess.Popen[bytes], None, None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise StartupError(f"The gateway does not start: {log.read_text()[-500:]}")


def _new_tenant(url: str, admin: str) -> str:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {admin}"}) as client:
        tenant = {"id": "bench", "tier": "enterprise"}
        client.post("/admin/v1/tenants", json=tenant).raise_for_status()
        # Counted as everybody's, and never reached.
        limits = {"requests_per_minute": 10**9, "tokens_per_minute": 10**12}
        limits["tokens_per_month"] = 10**12
        client.patch("/admin/v1/tenants/bench", json={"limits": limits}).raise_for_status()
        reply = client.post("/admin/v1/keys", json={"tenant_id": "bench"}).raise_for_status()
    return str(reply.json()["api_key"])
