"""What a rollout counts against a version: leaks, masked or not, and what it caused itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from isolation.masking.policy import MaskingPolicy
from serving.adapters.leases import AdapterLeases
from serving.adapters.models import AdapterModels
from serving.adapters.names import Reference
from serving.control.policies import PolicyRegistry
from serving.gateway import trial
from serving.gateway.preparing import Preparing
from serving.gateway.trial import Watched
from tests.adapters.conftest import FJELLVIK, OPERATOR, VOLTBAY
from tests.gateway.adapter_gateway import Gateway, adapter_gateway
from tests.gateway.rollouts import begun, conversations, newest_of, says, two_versions

CANARY = "internal-note-7731"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncGenerator[Gateway, None]:
    """Masking is off."""
    async with adapter_gateway(tmp_path, rollouts=True, masked=False) as gateway:
        yield gateway


def _say(gateway: Gateway, version: str, words: str) -> None:
    """From now on the version of these weights answers so."""
    for name, weights in gateway.engine.adapters.items():
        if weights == version:
            gateway.engine.adapters[name] = words


async def _leaking(gateway: Gateway) -> tuple[str, str, str]:
    """A rollout whose candidate answers with a string that its owner's policy names; the old
    version, and a conversation of each."""
    old, new = await two_versions(gateway)
    policies = PolicyRegistry(gateway.database)
    await policies.set(OPERATOR, FJELLVIK.tenant_id, MaskingPolicy(canaries=frozenset({CANARY})))
    await begun(gateway)
    (canary,), (control,) = [await conversations(gateway, version) for version in (new, old)]
    _say(gateway, new, f"As {CANARY} says, no.")
    return old, canary, control


async def test_a_version_that_says_a_canary_is_rolled_back_though_nothing_is_masked(
    gateway: Gateway,
) -> None:
    old, canary, control = await _leaking(gateway)
    assert await says(gateway, control) == old
    assert (await newest_of(gateway))["state"] == "running"
    assert await says(gateway, canary) == "As [removed] says, no."
    shown = await newest_of(gateway)
    assert (shown["state"], shown["steps"][-1]["why"]) == ("rolled_back", ["leak"])
    assert shown["figures"]["canary"]["leaks"] == 1
    assert await says(gateway, canary) == old


def _gate_that_overlooks_it(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(Watched, "_tripped", lambda watched: 0)


def _vault_without_canaries(patched: pytest.MonkeyPatch) -> None:
    """As it was when canaries were the masker's matter."""
    without = "serving.gateway.preparing.unmasked"
    honest = Preparing.prepare.__globals__["unmasked"]
    patched.setattr(without, lambda ctx, policy: honest(ctx, MaskingPolicy()))


@pytest.mark.parametrize("twin", [_gate_that_overlooks_it, _vault_without_canaries])
async def test_a_twin_that_overlooks_it_is_caught(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, twin: Callable[[pytest.MonkeyPatch], None]
) -> None:
    twin(monkeypatch)
    with pytest.raises(AssertionError):
        await test_a_version_that_says_a_canary_is_rolled_back_though_nothing_is_masked(gateway)


async def test_anothers_canary_is_its_own_matter(gateway: Gateway) -> None:
    """To be told of it would tell a tenant which strings others have placed."""
    policies = PolicyRegistry(gateway.database)
    await policies.set(OPERATOR, VOLTBAY.tenant_id, MaskingPolicy(canaries=frozenset({CANARY})))
    _, new = await two_versions(gateway)
    await begun(gateway)
    (canary,) = await conversations(gateway, new)
    _say(gateway, new, CANARY)
    assert await says(gateway, canary) == CANARY
    assert (await newest_of(gateway))["state"] == "running"


async def _counted(gateway: Gateway) -> tuple[int, int]:
    """The canary's requests and errors."""
    await gateway.trials.keep()
    figures = (await newest_of(gateway))["figures"]["canary"]
    return figures["requests"], figures["errors"]


async def _refused(gateway: Gateway, conversation: str) -> None:
    answered = await gateway.chat("key-f", "support", metadata={"conversation": conversation})
    assert answered.status_code == 503, answered.text
    assert answered.json()["error"]["code"] in ("adapter_unavailable", "engine_unavailable")


async def _canary_without_a_place(gateway: Gateway, stack: AsyncExitStack) -> str:
    """A canary's conversation, while other adapters hold both of the engine's places."""
    _, new = await two_versions(gateway)
    await begun(gateway)
    (canary,) = await conversations(gateway, new)
    models = gateway.service._parts.models
    assert isinstance(models, AdapterModels)
    leases: AdapterLeases = models._leases
    await gateway.add("key-v", 3)
    for ctx in (FJELLVIK, VOLTBAY):
        record = await gateway.registry.of(ctx).find(Reference("support", 1))
        assert record is not None
        deadline = asyncio.get_running_loop().time() + 5
        await stack.enter_async_context(leases.of(ctx).lease(record, deadline))
    gateway.service._options = replace(gateway.service._options, queue_seconds=0.2)
    return canary


async def test_no_place_in_the_engine_is_not_the_versions_error(gateway: Gateway) -> None:
    async with AsyncExitStack() as stack:
        canary = await _canary_without_a_place(gateway, stack)
        before = await _counted(gateway)
        await _refused(gateway, canary)
        assert await _counted(gateway) == before
    # The positive control: with a place, it is asked and counted.
    assert await says(gateway, canary)
    assert await _counted(gateway) == (before[0] + 1, before[1])


async def test_a_twin_that_blames_the_version_for_it_is_caught(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_OTHERS", ())
    with pytest.raises(AssertionError):
        await test_no_place_in_the_engine_is_not_the_versions_error(gateway)


async def test_what_the_engine_or_the_load_fails_at_is_the_versions_error(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, new = await two_versions(gateway)
    await begun(gateway)
    (canary,) = await conversations(gateway, new)
    requests, errors = await _counted(gateway)
    gateway.engine.adapters.clear()  # the engine fails at the next request
    await _refused(gateway, canary)
    assert await _counted(gateway) == (requests + 1, errors + 1)
    # What was uploaded is not what is stored: it does not load.
    monkeypatch.setattr("serving.adapters.sealed_files.file_entry", lambda path: None)
    await _refused(gateway, canary)
    assert await _counted(gateway) == (requests + 2, errors + 2)
