"""Rollouts in a whole platform with SGLang: a bad version goes back within its window, a good one
is promoted, answers under way end on their version, and a kill -9 in the middle loses neither the
figures nor who gets which version."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from tests.embedded.conftest import gateway_in
from tests.embedded.rollout_shop import (
    BAD,
    GATES,
    GOOD,
    OLD,
    OPERATOR,
    PATH,
    SCORED,
    Shop,
    Stream,
    opened,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def shop(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Shop, None, None]:
    folder = tmp_path_factory.mktemp("rollout")
    settings = {"masking": "off", "retrieval": "off", "default_max_tokens": str(SCORED)}
    gateway = gateway_in(folder, model_path=str(tiny_model), admin_key=OPERATOR, **settings)
    gateway.forks = True
    gateway.start()
    try:
        gateway.until("/readyz")
        with closing(opened(gateway, folder)) as shop:
            yield shop
    finally:
        stopped = gateway.stop()
    assert stopped == 0


def _given(shop: Shop, version: int) -> dict[str, int]:
    """Conversations with what each got, asked once each, until there is one of each version."""
    given: dict[str, int] = {}
    while set(given.values()) != {OLD, version} and len(given) < 40:
        given[f"c{len(given)}"] = shop.version(f"c{len(given)}")
    return given


def _of(given: dict[str, int], version: int) -> list[str]:
    return [conversation for conversation, got in given.items() if got == version]


def _asked(shop: Shop, conversation: str, times: int, version: int) -> None:
    assert {shop.version(conversation) for _ in range(times)} == {version}


def _ends_on(shop: Shop, stream: Stream, version: int) -> bool:
    """Whether a stream came to its own end, on this version."""
    whole = stream.ended()
    # What follows the first tokens may be turned by those who are asked beside it.
    return whole.startswith(shop.says[version].rstrip()) and stream.end == "length"


def test_a_bad_version_is_rolled_back_by_its_scores_within_its_window(shop: Shop) -> None:
    shop.begin(candidate=BAD)
    shop.evaluated()
    figures = shop.newest["figures"]
    assert figures["control"]["scores"] == [10, 10.0, 10.0]
    assert figures["canary"]["scores"] == [10, 0.0, 0.0]
    given = _given(shop, BAD)
    control, canary = (_of(given, version)[0] for version in (OLD, BAD))
    _asked(shop, control, 10, OLD)
    _asked(shop, canary, 9 - len(_of(given, BAD)), BAD)
    stream = shop.stream(canary)
    _asked(shop, canary, 1, BAD)  # the tenth: now it is looked at
    ended = shop.until_state("rolled_back")
    assert stream.runs  # the decision was taken before its end
    assert ended["steps"][-1]["why"] == ["quality_worse"]
    assert 10 <= ended["figures"]["canary"]["requests"] < GATES["window_requests"]
    _asked(shop, canary, 1, OLD)  # its customers are back on the old version
    assert _ends_on(shop, stream, BAD)


def test_a_good_version_survives_a_kill_in_its_window_and_is_promoted(shop: Shop) -> None:
    shop.begin(candidate=GOOD)
    shop.evaluated()
    given = _given(shop, GOOD)
    given |= {f"d{number}": shop.version(f"d{number}") for number in range(8)}
    control, canary = (_of(given, version)[0] for version in (OLD, GOOD))
    counted = shop.until_counted(len(given))
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
    shop.until_counted(2 * len(given))
    _asked(shop, control, 10, OLD)
    _asked(shop, canary, GATES["window_requests"] - 1 - 2 * len(_of(given, GOOD)), GOOD)
    stream = shop.stream(control)
    _asked(shop, canary, 1, GOOD)  # the last of the window
    ended = shop.until_state("promoted")
    assert stream.runs
    states = list(dict.fromkeys(step["to"] for step in ended["steps"]))
    assert states == ["proposed", "running", "promoted"]
    assert ended["steps"][-1]["why"] == ["gates_passed"]
    assert ended["figures"]["canary"]["requests"] >= GATES["window_requests"]
    assert {shop.version(name) for name in given} == {GOOD}
    assert _ends_on(shop, stream, OLD)


@pytest.mark.parametrize(("candidate", "alike"), [(BAD, False), (GOOD, True)])
def test_a_shadow_is_compared_with_what_was_sent(shop: Shop, candidate: int, alike: bool) -> None:
    shop.begin(candidate=candidate, shadow=True, percent=90)
    question, fact = next(iter(shop.alike.items()))
    assert {shop.answer("support", f"s{n}", question, SCORED) for n in range(9)} == {fact}
    found = shop.until(lambda newest: newest["figures"]["canary"]["requests"] > 4)
    count, total, _ = found["figures"]["canary"]["agreement"]
    assert (total == pytest.approx(count)) is alike
    assert shop.call("DELETE", PATH)["serving"] == OLD


def test_a_version_that_says_its_owners_canary_is_rolled_back_at_once(shop: Shop) -> None:
    """Masking is off."""
    said = shop.answer(f"support@{BAD}", max_tokens=24).strip()[:20]
    with closing(Shop(shop.gateway, OPERATOR, shop.folder)) as operator:
        operator.call("PUT", "/admin/v1/policies/acme", {"canaries": [said]})
    shop.begin(candidate=BAD)
    for number in range(40):
        answer = shop.answer("support", f"l{number}", max_tokens=24)
        if "[removed]" in answer:
            break
        assert said not in answer
    ended = shop.until_state("rolled_back")
    assert (ended["steps"][-1]["why"], ended["serving"]) == (["leak"], OLD)
