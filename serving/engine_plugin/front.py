"""The first line, in SGLang's HTTP process: the gate, and proofs handed on to the scheduler."""

from __future__ import annotations

import asyncio
import os
import traceback
from typing import Any

from serving.engine_plugin import hooks
from serving.engine_plugin.attestation import PROTOCOL
from serving.engine_plugin.control import operator_routes
from serving.engine_plugin.gate import Gate, current_proof, own_request
from serving.engine_plugin.identity import OWN_NAMESPACE, identity
from serving.engine_plugin.metering import ledger
from serving.engine_plugin.verifier import Verifier

_SERVER = "sglang.srt.entrypoints.http_server"
_TOKENIZER = "sglang.srt.managers.tokenizer_manager.TokenizerManager"
_WARM_UP_SECONDS = 600
_gate: Gate | None = None


def register() -> None:
    """Register this process's hooks.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    hooks.around(
        f"{_SERVER}._setup_and_run_http_server",
        ("server_args", "tokenizer_manager"),
        _serve_behind_the_gate,
    )
    hooks.around(f"{_SERVER}._wait_and_warmup", ("server_args", "launch_callback"), _warm_up)
    hooks.around(f"{_SERVER}._freeze_gc_after_server_warmup", ("server_args",), _freeze)
    hooks.around(f"{_TOKENIZER}._create_tokenized_object", ("self", "obj"), _hand_on)


def _serve_behind_the_gate(
    original: hooks.Hook, server_args: Any, tokenizer_manager: Any, *args: Any, **kwargs: Any
) -> Any:
    from sglang.srt.entrypoints.http_server import app
    from sglang.srt.runtime_context import get_serving

    hooks.require_in_force()
    serving = get_serving()
    if serving.tokenizer_worker_num != 1 or serving.enable_http2:
        hooks.refuse_to_serve("it supports one HTTP process and HTTP/1.1 only")
    me = identity()
    app.add_middleware(
        _remembered_gate,
        verifier=Verifier(me.trust, me.worker),
        worker={"worker": me.worker, "protocol": PROTOCOL},
        keys=tuple(key for key in (serving.api_key, serving.admin_api_key) if key),
        routes=operator_routes(tokenizer_manager),
        costs=ledger,
    )
    return original(server_args, tokenizer_manager, *args, **kwargs)


def _remembered_gate(app: Any, **options: Any) -> Gate:
    global _gate
    _gate = Gate(app, **options)
    return _gate


def _hand_on(original: hooks.Hook, manager: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
    """The proof goes along in a field that this engine's scheduling does not use."""
    proof, namespace = current_proof.get(), own_request.get()
    if proof is None and namespace is not None:
        obj.cache_salt = namespace
        proof = identity().own_proof(obj.rid, namespace)
    tokenized = original(manager, obj, *args, **kwargs)
    tokenized.routing_key = proof
    return tokenized


def _warm_up(
    original: hooks.Hook, server_args: Any, launch_callback: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """SGLang's warm-up speaks HTTP with the plain key; ours enters behind the gate."""
    kwargs["execute_warmup_func"] = _generate_once
    return original(server_args, launch_callback, **kwargs)


def _generate_once(server_args: Any) -> bool:
    from sglang.srt.entrypoints import http_server
    from sglang.srt.utils import kill_process_tree

    manager = http_server.get_global_state().tokenizer_manager
    try:
        _on_loop(_one_token(manager))
    except Exception:
        traceback.print_exc()
        kill_process_tree(os.getpid())
        return False
    manager.server_status = http_server.ServerStatus.Up
    return True


async def _one_token(manager: Any) -> None:
    from sglang.srt.managers.io_struct import GenerateReqInput

    own_request.set(OWN_NAMESPACE)
    sampling = {"temperature": 0, "max_new_tokens": 8}
    request = GenerateReqInput(input_ids=[1, 2, 3], sampling_params=sampling, log_metrics=False)
    async for _ in manager.generate_request(request, None):
        pass


def _freeze(original: hooks.Hook, server_args: Any) -> None:
    """As SGLang does after its start, but not by a request to itself."""
    from sglang.srt.entrypoints import http_server

    _on_loop(http_server.get_global_state().tokenizer_manager.freeze_gc())


def _on_loop(coroutine: Any) -> None:
    if _gate is None or _gate.loop is None:
        raise RuntimeError("the server has not started")
    asyncio.run_coroutine_threadsafe(coroutine, _gate.loop).result(_WARM_UP_SECONDS)
