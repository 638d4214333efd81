"""What the operator asks of the plugin: purge a tenant, see accounts, read the pool.

The HTTP process has the routes; the scheduler has the state. Between them goes SGLang's request for
the scheduler's state, with an id that names the question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from serving.engine_plugin import attestation, grammars, hooks, lora_scrub, public_prefix, scrub
from serving.engine_plugin.admission import claims_of
from serving.engine_plugin.gate import OperatorRoute
from serving.engine_plugin.metering import ledger
from serving.engine_plugin.verifier import ProofRefusedError

_STATE = "sglang.srt.managers.scheduler_components.internal_state.SchedulerInternalStateController"
_PREFIX = "bulkhead:"
# An aborted request runs one step more before it has ended.
_SETTLE_SECONDS = 10.0


def register() -> None:
    """Answer questions in the scheduler's process.

    Raises:
        MissingTargetError: this SGLang lacks the place.
    """
    hooks.around(f"{_STATE}.get_internal_state", ("self", "recv_req"), _answer)


def operator_routes(manager: Any) -> Mapping[str, OperatorRoute]:
    """By method and path; each needs an operator's proof."""

    async def purge(body: bytes) -> dict[str, Any]:
        answers = await _ask(manager, f"purge:{_named(body, 'account')}")
        return {"held": sum(answer["held"] for answer in answers)}

    async def accounts(body: bytes) -> dict[str, Any]:
        return {"ranks": await _ask(manager, "accounts")}

    async def audit(body: bytes) -> dict[str, Any]:
        return {"ranks": await _ask(manager, "audit")}

    async def settle(body: bytes) -> dict[str, Any]:
        return {"cost": await ledger.wait(_named(body, "request_id"), _SETTLE_SECONDS)}

    async def publish(body: bytes) -> dict[str, Any]:
        return await public_prefix.publish(manager, body, partial(_ask, manager))

    async def measure(body: bytes) -> dict[str, Any]:
        return await public_prefix.measured(manager, body, partial(_ask, manager))

    async def public(body: bytes) -> dict[str, Any]:
        return {"ranks": await _ask(manager, "public")}

    return {
        "GET /bulkhead/v1/public": public,
        "POST /bulkhead/v1/public": publish,
        "POST /bulkhead/v1/public/measure": measure,
        "POST /bulkhead/v1/settle": settle,
        "POST /bulkhead/v1/purge": purge,
        "GET /bulkhead/v1/accounts": accounts,
        "GET /bulkhead/v1/audit": audit,
    }


def _named(body: bytes, field: str) -> str:
    """The one field of a body: letters and digits."""
    try:
        value = json.loads(body)[field]
    except (ValueError, KeyError, TypeError):
        raise ProofRefusedError("body_refused") from None
    if not isinstance(value, str) or not value.isalnum():
        raise ProofRefusedError("body_refused")
    return value


async def _ask(manager: Any, question: str) -> list[dict[str, Any]]:
    """The answers of all ranks."""
    from sglang.srt.managers.io_struct import GetInternalStateReq

    manager.auto_create_handle_loop()
    request = GetInternalStateReq(rid=_PREFIX + question)
    outputs = await manager.get_internal_state_communicator(request)
    return [output.internal_state for output in outputs]


def _answer(original: hooks.Hook, controller: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
    from sglang.srt.managers.io_struct import GetInternalStateReqOutput

    if not (request.rid or "").startswith(_PREFIX):
        output = original(controller, request, *args, **kwargs)
        output.internal_state["bulkhead"] = attestation.claim(controller.scheduler)
        return output
    question, _, argument = request.rid.removeprefix(_PREFIX).partition(":")
    answer = _ANSWERS[question](controller.scheduler, argument)
    return GetInternalStateReqOutput(internal_state=answer)


def _purge(scheduler: Any, name: str) -> dict[str, Any]:
    """End the tenant's requests, forget its grammars and evict its prefixes; `held`: tokens and
    requests still there."""
    requests = _requests_of(scheduler, name)
    for request in requests:
        _abort(scheduler, request)
    tree = scheduler.tree_cache
    account = tree.accounts.get(name)
    grammars.forget(scheduler, name)
    with scrub.forcing():
        left = tree.purge(account) if account is not None else 0
    return {"held": left + len(requests)}


def _requests_of(scheduler: Any, account: str) -> list[Any]:
    waiting, running = scheduler.waiting_queue, scheduler.collect_inflight_reqs()
    chunked = [scheduler.chunked_req] if scheduler.chunked_req is not None else []
    compiling = scheduler.grammar_manager.grammar_queue
    return [
        request
        for request in {*waiting, *running, *chunked, *compiling}
        if claims_of(request).account == account and not request.finished()
    ]


def _abort(scheduler: Any, request: Any) -> None:
    from sglang.srt.managers.io_struct import AbortReq

    scheduler.abort_request(AbortReq(rid=request.rid))


def _accounts(scheduler: Any, argument: str) -> dict[str, Any]:
    accounts = scheduler.tree_cache.accounts
    return {
        "tokens": accounts.tokens,
        "accounts": {
            account.name: {
                "resident": account.resident,
                "locked": account.locked,
                "evicted": account.evicted,
                "reserved": accounts.reserved(account),
            }
            for account in accounts
        },
    }


def _publish(scheduler: Any, argument: str) -> dict[str, Any]:
    """Show what stands in the public namespace to all, from their next request on."""
    return {"tokens": scheduler.tree_cache.publish(argument)}


def _public(scheduler: Any, argument: str) -> dict[str, Any]:
    """What is public until the next flush: names, tokens, and for how many more there is room."""
    tree = scheduler.tree_cache
    room = public_prefix.room_in(tree.accounts.tokens, tree.public_tokens)
    return {"tokens": tree.public_tokens, "room": room, "prefixes": sorted(tree.prefixes)}


def _audit(scheduler: Any, argument: str) -> dict[str, Any]:
    slots = scrub.audit(scheduler.token_to_kv_pool_allocator)
    return slots | {"adapters": lora_scrub.audit(scheduler)}


_ANSWERS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "purge": _purge,
    "publish": _publish,
    "public": _public,
    "accounts": _accounts,
    "audit": _audit,
}
