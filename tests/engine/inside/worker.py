"""SGLang's scheduler of a whole worker, in this process: it does a step when it is told to.

The model, the pools, the tree and all hooks are those of a worker that serves; only the HTTP
process is missing. So a test can stop between two steps and read the pool there.
"""

# ruff: noqa: E402

from __future__ import annotations

import json
import os
import secrets
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["BULKHEAD_ENGINE_DEVICE"] = "cpu"

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

assert kv_pool

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sglang.srt.managers import scheduler as sglang_scheduler
from sglang.srt.managers.io_struct import (
    AbortReq,
    GetInternalStateReq,
    LoadLoRAAdapterReqInput,
    TokenizedGenerateReqInput,
    UnloadLoRAAdapterReqInput,
)
from sglang.srt.plugins import load_plugins
from sglang.srt.runtime_context import SpawnRanks, publish
from sglang.srt.sampling.sampling_params import SamplingParams
from sglang.srt.server_args import PortArgs, prepare_server_args

from serving.engine_plugin import hooks
from serving.engine_plugin.claims import TENANT, Claims, KvPolicy, sign
from serving.engine_plugin.identity import become
from serving.engine_plugin.trust import key_id

# Said last, they count: a pool that a test fills, and two places, which it fills too.
_SMALL = ("--max-total-tokens", "1024", "--chunked-prefill-size", "128")
_FEW = ("--max-running-requests", "2", "--log-level", "warning")
# They need the HTTP process.
_LEFT_OUT = ("--sleep-on-idle", "--enable-metrics")


@dataclass(frozen=True)
class Tenant:
    """Who asks, and under which policy."""

    account: str
    policy: KvPolicy = field(default_factory=KvPolicy)
    adapter: str = ""
    priority: int = 0


class Worker:
    """A worker of the launcher's configuration, with the key that its trust file names."""

    def __init__(self, config: Path, key: Ed25519PrivateKey) -> None:
        said = json.loads(config.read_text())
        self._key = key
        self._me = become(said["trust"]).worker
        load_plugins()
        hooks.require_in_force()
        arguments = [flag for flag in said["arguments"] if flag not in _LEFT_OUT]
        settings = prepare_server_args([*arguments, *_SMALL, *_FEW])
        settings.resolve_once()
        settings.check_server_args()
        publish(settings, role="scheduler", ranks=SpawnRanks(world_rank=0, dp_rank=None, gpu_id=0))
        self.scheduler: Any = sglang_scheduler.Scheduler(settings, PortArgs.init_new(settings))
        self.allocator = self.scheduler.token_to_kv_pool_allocator
        self.slots = Slots(self)
        self._adapters: dict[str, str] = {}

    def ask(self, tenant: Tenant, tokens: int, new: int = 1) -> str:
        """A request for `new` tokens after random ones; its id."""
        rid = secrets.token_hex(16)
        claims = Claims(
            role=TENANT,
            worker=self._me,
            route="",
            body="",
            request_id=rid,
            expires=time.time() + 30,
            nonce=secrets.token_hex(16),
            namespace=f"namespace of {tenant.account} {tenant.adapter}",
            adapter=tenant.adapter,
            account=tenant.account,
            priority=tenant.priority,
            policy=tenant.policy,
        )
        sampling = SamplingParams(max_new_tokens=new, temperature=0.0, ignore_eos=True)
        sampling.normalize(None)
        received = TokenizedGenerateReqInput(
            rid=rid,
            input_text="",
            input_ids=array("q", (1 + secrets.randbelow(40_000) for _ in range(tokens))),
            input_embeds=None,
            mm_inputs=None,
            token_type_ids=None,
            sampling_params=sampling,
            return_logprob=False,
            logprob_start_len=-1,
            top_logprobs_num=0,
            token_ids_logprob=None,
            stream=False,
            routing_key=sign(claims, key_id(self._key.public_key()), self._key),
            cache_salt=claims.namespace,
            priority=tenant.priority,
            lora_id=self._adapters.get(tenant.adapter),
            lora_name=tenant.adapter or None,
        )
        self.scheduler.process_input_requests([received])
        return rid

    def plan(self) -> Any:
        """The next batch, whose slots are allocated and not written yet; None if there is none."""
        scheduler = self.scheduler
        plan = scheduler.get_next_batch_to_run(
            running_batch=scheduler.running_batch, last_batch=scheduler.last_batch
        )
        scheduler.running_batch = plan.running_batch
        self.slots.note(plan.batch_to_run.reqs if plan.batch_to_run else [])
        return plan.batch_to_run

    @torch.inference_mode()
    def step(self) -> bool:
        """One batch; whether there was one."""
        batch = self.plan()
        if batch:
            self.scheduler.process_batch_result(batch, self.scheduler.run_batch(batch))
        self.scheduler.last_batch = batch
        return bool(batch)

    def finish(self) -> None:
        """Step until nobody waits or runs."""
        for _ in range(2_000):
            if not self.step() and not self.scheduler.waiting_queue:
                return
        raise AssertionError("requests do not end")

    def answered(self, tenant: Tenant, tokens: int, new: int = 1) -> None:
        """A request from its beginning to its end."""
        self.ask(tenant, tokens, new)
        self.finish()

    def decoding(self, tenant: Tenant, tokens: int) -> str:
        """A request that has three of its many tokens; its id."""
        rid = self.ask(tenant, tokens, new=200)
        for _ in range(100):
            self.step()
            if len(self.request(rid).output_ids) >= 3:
                return rid
        raise AssertionError("it does not decode")

    def abort(self, rid: str) -> None:
        self.scheduler.process_input_requests([AbortReq(rid=rid)])

    def request(self, rid: str) -> Any:
        """SGLang's `Req`: waiting, running or between two chunks."""
        scheduler = self.scheduler
        last = scheduler.last_batch.reqs if scheduler.last_batch else []
        known = [*scheduler.waiting_queue, *scheduler.running_batch.reqs, *last]
        return next(request for request in known if request.rid == rid)

    def purge(self, account: str) -> int:
        """What the operator's route does; how much is still held."""
        question = GetInternalStateReq(rid=f"bulkhead:purge:{account}")
        answer = self.scheduler.internal_state.get_internal_state(question)
        return int(answer.internal_state["held"])

    def resident(self, account: str) -> int:
        found = self.scheduler.tree_cache.accounts.get(account)
        return found.resident if found else 0

    def load(self, name: str, folder: Path) -> Any:
        """Load an adapter; SGLang's object of it."""
        self._adapters[name] = secrets.token_hex(16)
        answer = self.scheduler.load_lora_adapter(
            LoadLoRAAdapterReqInput(
                lora_name=name, lora_path=str(folder), lora_id=self._adapters[name]
            )
        )
        assert answer.success, answer
        return self.lora_manager.loras[self._adapters[name]]

    def unload(self, name: str) -> None:
        answer = self.scheduler.unload_lora_adapter(
            UnloadLoRAAdapterReqInput(lora_name=name, lora_id=self._adapters.pop(name))
        )
        assert answer.success, answer

    @property
    def lora_manager(self) -> Any:
        return self.scheduler.tp_worker.model_runner.lora_manager

    def anew(self) -> None:
        """As it was at its start."""
        self.scheduler.process_input_requests([AbortReq(abort_all=True)])
        self.finish()
        for name in list(self._adapters):
            self.unload(name)
        assert self.scheduler.flush_cache()
        self.slots.forget()


class Slots:
    """Which KV slots each account was ever given, and what was in them right after each release.

    Given: read from the requests' rows in every batch. The allocator is watched from outside all
    hooks: what is read when its `free` returns is what the slot's next owner would get.
    """

    def __init__(self, worker: Worker) -> None:
        self._pool = worker.scheduler.req_to_token_pool
        self._allocator = worker.allocator
        self._free, self._alloc = self._allocator.free, self._allocator.alloc
        self._allocator.free, self._allocator.alloc = self._freed, self._allocated
        self.forget()

    def forget(self) -> None:
        self.held: dict[str, set[int]] = {}
        self.released: dict[str, set[int]] = {}
        self.unclean: dict[str, set[int]] = {}
        self.allocated: set[int] = set()
        self._owners: dict[int, str] = {}

    def note(self, requests: list[Any]) -> None:
        """A batch's requests hold these."""
        for request in requests:
            row = self._pool.req_to_token[request.kv.req_pool_idx]
            account = request.bulkhead_claims.account
            slots = set(row[: request.kv.kv_allocated_len].tolist())
            self.held.setdefault(account, set()).update(slots)
            self._owners.update(dict.fromkeys(slots, account))

    def holding(self, slots: set[int]) -> set[int]:
        """Those of `slots` that hold anything but zeros in any layer."""
        kv, index = self._allocator.get_kvcache(), sorted(slots)
        found = torch.zeros(len(index), dtype=torch.bool)
        for layer in (*kv.k_buffer, *kv.v_buffer):
            found |= (layer[index] != 0).flatten(1).any(dim=1)
        return {slot for slot, holds in zip(index, found.tolist(), strict=True) if holds}

    @property
    def free(self) -> set[int]:
        return set(self._allocator.get_all_free_pages().tolist())

    def _freed(self, index: Any) -> Any:
        result = self._free(index)
        slots = set(index.tolist())
        unclean = self.holding(slots)
        for slot in slots:
            if account := self._owners.pop(slot, None):
                self.released.setdefault(account, set()).add(slot)
                if slot in unclean:
                    self.unclean.setdefault(account, set()).add(slot)
        return result

    def _allocated(self, count: int) -> Any:
        slots = self._alloc(count)
        if slots is not None:
            self.allocated.update(slots.tolist())
        return slots
