"""A batch whose row left its tenant ends the engine, on SGLang's own requests and batches."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.inside.pools import claims  # first: it prepares the process

import torch  # isort: skip
from sglang.srt.managers.schedule_batch import Req, ScheduleBatch  # isort: skip
from sglang.srt.sampling.sampling_params import SamplingParams  # isort: skip

from serving.engine_plugin import admission, hooks, rows
from serving.engine_plugin.claims import Claims
from serving.engine_plugin.verifier import ProofRefusedError

VOICE, TONE = "1" * 32, "2" * 32  # SGLang's ids of two loaded adapters
LOADED = {VOICE: SimpleNamespace(lora_name="voice"), TONE: SimpleNamespace(lora_name="tone")}


class Refused(Exception):
    """The engine would have ended."""


@pytest.fixture(autouse=True)
def ending(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(reason: str = "") -> None:
        raise Refused(reason)

    monkeypatch.setattr(hooks, "refuse_to_serve", refuse)


def _scheduler(admitting: Claims | None = None) -> Any:
    manager = SimpleNamespace(lora_refs=LOADED)
    return SimpleNamespace(
        bulkhead_admitting=admitting,
        tree_cache=SimpleNamespace(enter=lambda claims: None),
        tp_worker=SimpleNamespace(model_runner=SimpleNamespace(lora_manager=manager)),
    )


def _claims(tenant: str, adapter: str = "") -> Claims:
    return replace(claims(tenant), request_id=secrets.token_hex(16), adapter=adapter)


def _admitted(owner: Claims, row: int, lora_id: str | None = None) -> Any:
    """A request as the scheduler's hook leaves it, with its row of the table of slots."""
    request = Req(
        owner.request_id,
        "",
        array("q", [1, 2, 3]),
        SamplingParams(),
        lora_id=lora_id,
        cache_salt=owner.namespace,
    )
    received = SimpleNamespace(lora_id=lora_id)
    admission._mark(lambda *args: request, _scheduler(owner), received)
    request.kv.req_pool_idx = row
    return request


def _batch() -> Any:
    """Two tenants on the base model, two on adapters; rows in no order."""
    requests = [
        _admitted(_claims("a"), 3),
        _admitted(_claims("b"), 1),
        _admitted(_claims("c", "voice"), 7, VOICE),
        _admitted(_claims("d", "tone"), 2, TONE),
    ]
    return ScheduleBatch(reqs=requests, req_pool_indices=torch.tensor([3, 1, 7, 2]))


def test_a_batch_of_four_tenants_runs() -> None:
    rows.require_own(_batch())


def test_an_empty_batch_runs() -> None:
    rows.require_own(ScheduleBatch(reqs=[], req_pool_indices=torch.tensor([], dtype=torch.int64)))


def _swap(name: str, left: int, right: int) -> Callable[[Any], None]:
    def swapped(batch: Any) -> None:
        one, other = batch.reqs[left], batch.reqs[right]
        before = getattr(one, name)
        setattr(one, name, getattr(other, name))
        setattr(other, name, before)

    return swapped


def _share_a_row(batch: Any) -> None:
    batch.reqs[1].kv.req_pool_idx = 3
    batch.req_pool_indices = torch.tensor([3, 3, 7, 2])


def _read_anothers_row(batch: Any) -> None:
    batch.req_pool_indices = torch.tensor([1, 3, 7, 2])


def _lose_a_row(batch: Any) -> None:
    batch.req_pool_indices = torch.tensor([3, 1, 7])


def _drop_the_adapter(batch: Any) -> None:
    batch.reqs[2].lora_id = None


def _give_an_adapter(batch: Any) -> None:
    batch.reqs[0].lora_id = VOICE


def _bring_in_a_stranger(batch: Any) -> None:
    del batch.reqs[1].bulkhead_owner


@pytest.mark.parametrize(
    "leak",
    [
        pytest.param(_swap("cache_salt", 0, 1), id="namespaces swapped"),
        pytest.param(_swap("lora_id", 2, 3), id="adapters swapped"),
        pytest.param(_swap("extra_key", 2, 3), id="keys of prefixes swapped"),
        pytest.param(_swap("bulkhead_watch", 0, 1), id="metering swapped"),
        pytest.param(_swap("bulkhead_claims", 0, 1), id="claims swapped"),
        pytest.param(_swap("bulkhead_owner", 0, 1), id="owners swapped"),
        pytest.param(_swap("rid", 0, 1), id="ids swapped"),
        _share_a_row,
        _read_anothers_row,
        _lose_a_row,
        _drop_the_adapter,
        _give_an_adapter,
        _bring_in_a_stranger,
    ],
)
def test_a_batch_with_a_row_that_left_its_tenant_is_caught(leak: Callable[[Any], None]) -> None:
    batch = _batch()
    leak(batch)
    with pytest.raises(Refused, match="row"):
        rows.require_own(batch)


def _received(owner: Claims, lora_id: str | None = None) -> Any:
    return SimpleNamespace(
        rid=owner.request_id,
        cache_salt=owner.namespace,
        lora_name=owner.adapter or None,
        lora_id=lora_id,
        extra_key=None,
        session_id=None,
        session_params=None,
    )


def _refusal(check: Callable[[], None]) -> str:
    """The code that a check refuses with, or nothing."""
    try:
        check()
    except ProofRefusedError as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("adapter", "lora_id", "code"),
    [
        ("voice", VOICE, ""),
        ("", None, ""),
        ("voice", TONE, "proof_inconsistent"),
        ("voice", "3" * 32, "proof_inconsistent"),
        ("voice", None, "proof_inconsistent"),
        ("", TONE, "proof_inconsistent"),
    ],
)
def test_an_adapter_runs_under_the_id_that_was_loaded_for_its_name(
    adapter: str, lora_id: str | None, code: str
) -> None:
    owner = _claims("a", adapter)
    received = _received(owner, lora_id)
    assert _refusal(lambda: admission._check_adapter(_scheduler(), received, owner)) == code


@pytest.mark.parametrize(("namespace", "code"), [("ns-a", ""), ("", "proof_inconsistent")])
def test_a_genuine_proof_of_no_namespace_is_refused(namespace: str, code: str) -> None:
    owner = replace(_claims("a"), namespace=namespace)
    assert _refusal(lambda: admission._check(_received(owner), owner)) == code
