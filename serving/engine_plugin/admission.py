"""The second line, in the scheduler's own process: no request runs whose proof does not hold here.

Whatever way a request took to this process (a route that the gate forgot, a batch, another
front end), it needs a proof for exactly its id, namespace and adapter, or it is sent back.
"""

from __future__ import annotations

import time
from typing import Any

from serving.engine_plugin import hooks, rows
from serving.engine_plugin.claims import TENANT, WORKER, Claims
from serving.engine_plugin.identity import OWN_NAMESPACE, PUBLIC_NAMESPACE, identity
from serving.engine_plugin.refusals import KV_RESERVED, status_of
from serving.engine_plugin.stopwatch import RequestWatch
from serving.engine_plugin.verifier import ProofRefusedError, Verifier

_SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
# Requests wait for their tokenizer between the two lines.
_GRACE_SECONDS = 60.0
_verifier: Verifier | None = None


def register() -> None:
    """Register this process's hooks.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    hooks.around(f"{_SCHEDULER}.handle_generate_request", ("self", "recv_req"), _admit)
    hooks.around(f"{_SCHEDULER}._create_generation_req", ("self", "recv_req"), _mark)
    hooks.around(f"{_SCHEDULER}.handle_embedding_request", ("self", "recv_req"), _refuse_all)


def claims_of(request: Any) -> Claims:
    """What an admitted request (SGLang's `Req`) was admitted for.

    Raises:
        AttributeError: it was never admitted.
    """
    claims: Claims = request.bulkhead_claims
    return claims


def _admit(original: hooks.Hook, scheduler: Any, received: Any, *args: Any, **kwargs: Any) -> Any:
    proof, received.routing_key = received.routing_key, None
    try:
        claims = _line().believed(proof)
        _check(received, claims)
        _check_adapter(scheduler, received, claims)
        _check_fits(scheduler, received, claims)
    except ProofRefusedError as error:
        _send_back(scheduler, received, error.code)
        return None
    scheduler.bulkhead_admitting = claims
    try:
        return original(scheduler, received, *args, **kwargs)
    finally:
        scheduler.bulkhead_admitting = None


def _check(received: Any, claims: Claims) -> None:
    if claims.role not in (TENANT, WORKER):
        raise ProofRefusedError("proof_inconsistent")
    if (claims.role == WORKER) != (claims.namespace in (OWN_NAMESPACE, PUBLIC_NAMESPACE)):
        raise ProofRefusedError("proof_inconsistent")
    said = (received.rid, received.cache_salt, received.lora_name or "")
    if said != (claims.request_id, claims.namespace, claims.adapter) or not claims.namespace:
        raise ProofRefusedError("proof_inconsistent")
    # Each of these would make one request share, or continue, the state of another.
    if received.extra_key or received.session_id or received.session_params is not None:
        raise ProofRefusedError("body_refused")


def _check_adapter(scheduler: Any, received: Any, claims: Claims) -> None:
    """The weights that will run are found by id: here it must be the id of the proof's adapter."""
    if received.lora_id is None and not claims.adapter:
        return
    manager = scheduler.tp_worker.model_runner.lora_manager
    loaded = manager.lora_refs.get(received.lora_id) if manager is not None else None
    if loaded is None or loaded.lora_name != claims.adapter:
        raise ProofRefusedError("proof_inconsistent")


def _check_fits(scheduler: Any, received: Any, claims: Claims) -> None:
    """A request that needs what is reserved for others would wait for ever."""
    accounts = scheduler.tree_cache.accounts
    own = accounts.get(claims.account)
    free = accounts.tokens - accounts.reserved_in_all() + (accounts.reserved(own) if own else 0)
    asked = len(received.input_ids) + (received.sampling_params.max_new_tokens or 0)
    if min(asked, scheduler.max_req_len) > free:
        raise ProofRefusedError(KV_RESERVED)


def _mark(original: hooks.Hook, scheduler: Any, received: Any, *args: Any, **kwargs: Any) -> Any:
    request = original(scheduler, received, *args, **kwargs)
    claims = scheduler.bulkhead_admitting
    rows.own(request, claims, received.lora_id, RequestWatch(received=time.monotonic()))
    scheduler.tree_cache.enter(claims)
    return request


def _refuse_all(original: hooks.Hook, scheduler: Any, received: Any, *args: Any, **kw: Any) -> None:
    _send_back(scheduler, received, "body_refused")


def _send_back(scheduler: Any, received: Any, code: str) -> None:
    from sglang.srt.managers.io_struct import AbortReq

    status = status_of(code)
    reason = {"type": "abort", "status_code": status, "message": code, "err_type": status.phrase}
    abort = AbortReq(
        rid=received.rid, http_worker_ipc=received.http_worker_ipc, finished_reason=reason
    )
    scheduler.send_abort_output(abort, received)


def _line() -> Verifier:
    global _verifier
    if _verifier is None:
        me = identity()
        _verifier = Verifier(me.trust, me.worker, grace=_GRACE_SECONDS)
    return _verifier
