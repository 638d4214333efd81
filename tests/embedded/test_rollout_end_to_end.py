"""Rollouts in a whole platform with SGLang: a bad version goes back within its window, a good one
is promoted, and a kill -9 in the middle loses neither the figures nor who gets which version."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.adapter_files import read_files
from tests.adapters.files import write
from tests.embedded.conftest import Gateway, gateway_in

pytestmark = pytest.mark.engine

PATH = "/v1/adapters/support/rollouts"
OPERATOR = "operator-of-the-rollouts-test-0123456789"
# Times of a busy machine decide nothing here.
GATES = {
    "minimum_requests": 10,
    "window_requests": 40,
    "window_seconds": 0,
    "ttft_ratio": 100,
    "gap_ratio": 100,
    "minimum_scores": 20,
}


@dataclass
class Shop:
    """A tenant of the platform, and what its adapter's versions say."""

    gateway: Gateway
    key: str
    says: dict[int, str]

    def call(self, method: str, path: str, body: Any = None, **form: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        url = self.gateway.url + path
        reply = httpx.request(method, url, json=body, headers=headers, timeout=120, **form)
        assert reply.is_success, reply.text
        return reply.json()

    def answer(self, model: str, conversation: str = "c") -> str:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 3,
            "metadata": {"conversation": conversation},
        }
        answered = self.call("POST", "/v1/chat/completions", body)
        return str(answered["choices"][0]["message"]["content"])

    def version(self, conversation: str) -> int:
        """The version that a conversation got."""
        said = self.answer("support", conversation)
        (version,) = (number for number, known in self.says.items() if known == said)
        return version

    def scored(self, version: int, good: float) -> None:
        """The tenant's own evaluation: 20 questions, of which so many are answered well."""
        right = round(20 * good)
        scores = [1.0] * right + [0.0] * (20 - right)
        self.call("POST", f"{PATH}/scores", {"version": version, "scores": scores})

    @property
    def versions(self) -> tuple[int, int, int]:
        """The one that serves, a bad one, and a good one."""
        first, second, third = self.says
        return first, second, third

    def begin(self, candidate: int) -> None:
        control = self.versions[0]
        body = {"candidate": candidate, "control": control, "percent": 50, "gates": GATES}
        assert self.call("POST", PATH, body)["state"] == "running"

    @property
    def newest(self) -> dict[str, Any]:
        newest: dict[str, Any] = self.call("GET", PATH)["data"][-1]
        return newest

    def until(self, state: str, seconds: float = 20) -> dict[str, Any]:
        """The newest rollout, once it is in this state; the gateway looks every second."""
        end = time.monotonic() + seconds
        while (newest := self.newest)["state"] != state and time.monotonic() < end:
            time.sleep(0.2)
        assert newest["state"] == state, newest
        return newest


@pytest.fixture(scope="module")
def shop(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Shop, None, None]:
    """A platform with one tenant, and three versions of its adapter that can be told apart."""
    folder = tmp_path_factory.mktemp("rollout")
    off = {"masking": "off", "retrieval": "off"}
    gateway = gateway_in(folder, model_path=str(tiny_model), admin_key=OPERATOR, **off)
    gateway.start()
    try:
        gateway.until("/readyz")
        yield _opened(gateway, folder)
    finally:
        stopped = gateway.stop()
    assert stopped == 0


def _opened(gateway: Gateway, folder: Path) -> Shop:
    """Random weights say anything: what says nothing, or what another version says, is no use."""
    operator = Shop(gateway, OPERATOR, {})
    operator.call("POST", "/admin/v1/tenants", {"id": "acme", "tier": "business"})
    key = operator.call("POST", "/admin/v1/keys", {"tenant_id": "acme"})["api_key"]
    shop = Shop(gateway, key, {})
    for number in range(1, 13):
        upload = write(folder / f"v{number}", seed=number).folder
        form = [("files", item) for item in read_files(upload).items()]
        shop.call("POST", "/v1/adapters", data={"name": "support"}, files=form)
        said = shop.answer(f"support@{number}")
        if said.strip() and said not in shop.says.values():
            shop.says[number] = said
        if len(shop.says) == 3:
            return shop
    pytest.fail("no three versions can be told apart")


def test_a_bad_version_is_rolled_back_within_its_window(shop: Shop) -> None:
    old, bad, _ = shop.versions
    shop.begin(candidate=bad)
    shop.scored(old, good=0.9)
    shop.scored(bad, good=0.1)
    given: dict[str, int] = {}
    while shop.newest["state"] == "running" and len(given) < 4 * GATES["window_requests"]:
        conversation = f"c{len(given)}"
        given[conversation] = shop.version(conversation)
    ended = shop.until("rolled_back")
    assert set(given.values()) == {old, bad}
    assert ended["steps"][-1]["why"] == ["quality_worse"]
    assert 10 <= ended["figures"]["canary"]["requests"] < GATES["window_requests"]
    tried = next(name for name, version in given.items() if version == bad)
    assert shop.version(tried) == old  # its customers are back on the old version


def test_a_good_version_survives_a_kill_in_its_window_and_is_promoted(shop: Shop) -> None:
    old, _, good = shop.versions
    shop.begin(candidate=good)
    for version in (old, good):
        shop.scored(version, good=0.9)
    given = {f"d{number}": shop.version(f"d{number}") for number in range(24)}
    assert set(given.values()) == {old, good}
    counted = _until_written(shop, 24)
    assert shop.gateway.stop(signal.SIGKILL) == -signal.SIGKILL
    shop.gateway.start()
    shop.gateway.until("/readyz")
    found = shop.newest
    assert (found["state"], found["id"]) == ("running", counted["id"])
    for arm in ("control", "canary"):
        assert found["figures"][arm]["requests"] == counted["figures"][arm]["requests"]
        assert found["figures"][arm]["scores"] == counted["figures"][arm]["scores"]
    # Everybody stays with the version that it had, and is counted on.
    assert {name: shop.version(name) for name in given} == given
    _until_written(shop, 48)
    while shop.newest["state"] == "running" and len(given) < 4 * GATES["window_requests"]:
        given[f"d{len(given)}"] = shop.version(f"d{len(given)}")
    ended = shop.until("promoted")
    states = list(dict.fromkeys(step["to"] for step in ended["steps"]))
    assert states == ["proposed", "running", "promoted"]
    assert ended["figures"]["canary"]["requests"] >= GATES["window_requests"]
    assert {shop.version(name) for name in list(given)[:12]} == {good}


def _until_written(shop: Shop, requests: int, seconds: float = 20) -> dict[str, Any]:
    """The rollout, once so many answers are in the database; a gateway writes every second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        newest = shop.newest
        if sum(newest["figures"][arm]["requests"] for arm in ("control", "canary")) == requests:
            return newest
        time.sleep(0.2)
    raise AssertionError(newest["figures"])
