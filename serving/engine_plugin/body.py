"""A tenant's body, read strictly: what is signed is what SGLang will read, and nothing besides.

The digest binds the body already. This is the line behind it: a gateway that let a caller's
parameter through would sign it too, so the engine accepts no control that the proof does not name.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from serving.engine_plugin.claims import Claims
from serving.engine_plugin.verifier import ProofRefusedError

_ALLOWED = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "min_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "stop",
        "seed",
        "ignore_eos",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "stream",
        "stream_options",
        "cache_salt",
        "rid",
        "priority",
        "lora_path",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
    ]
)
_MESSAGE = frozenset(("role", "content", "name", "tool_call_id"))
_FUNCTION = frozenset(("name", "description", "parameters", "strict"))
_MOST_TOOLS = 64


class InvalidBodyError(ProofRefusedError):
    """The body is not one that a gateway sends."""

    def __init__(self) -> None:
        super().__init__("body_refused")


def check_body(body: bytes, claims: Claims) -> None:
    """Refuse a body that says anything else than its proof.

    Raises:
        InvalidBodyError: not JSON, a key twice, or a parameter that no gateway sends.
        ProofRefusedError: namespace, request id, adapter or priority differ from the proof's.
    """
    request = _strict_json(body)
    if not _ALLOWED.issuperset(request) or not _plain_messages(request.get("messages")):
        raise InvalidBodyError
    if not _plain_tools(request.get("tools", []), request.get("tool_choice")):
        raise InvalidBodyError
    model = request.get("model")
    if not isinstance(model, str) or ":" in model:  # SGLang takes "base:adapter" for an adapter
        raise InvalidBodyError
    said = (
        request.get("cache_salt"),
        request.get("rid"),
        request.get("lora_path", ""),
        request.get("priority", 0),
    )
    if said != (claims.namespace, claims.request_id, claims.adapter, claims.priority):
        raise ProofRefusedError("proof_inconsistent")


def read_prefix(body: bytes) -> tuple[list[Any], list[Any]]:
    """The messages and the tools of a beginning that an operator shares, as strictly as a chat's.

    Raises:
        InvalidBodyError: it is none.
    """
    prefix = _strict_json(body)
    messages, tools = prefix.get("messages"), prefix.get("tools", [])
    if not {"messages", "tools"}.issuperset(prefix) or not messages:
        raise InvalidBodyError
    if not _plain_messages(messages) or not _plain_tools(tools, None):
        raise InvalidBodyError
    if not all({"role", "content"}.issubset(turn) for turn in messages):
        raise InvalidBodyError
    return messages, tools


def _strict_json(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body, object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidBodyError from None
    if not isinstance(request, dict):
        raise InvalidBodyError
    return request


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise InvalidBodyError
    return values


def _refuse(constant: str) -> NoReturn:
    raise InvalidBodyError


def _plain_messages(messages: object) -> bool:
    """Text and calls alone: another part's URL would be fetched by the engine."""
    return isinstance(messages, list) and all(map(_plain_message, messages))


def _plain_message(turn: object) -> bool:
    if not isinstance(turn, dict):
        return False
    said = {name: value for name, value in turn.items() if name != "tool_calls"}
    calls = turn.get("tool_calls", [])
    return (
        _texts(said, _MESSAGE)
        and isinstance(calls, list)
        and all(_shaped(call, ("id", "type", "function")) for call in calls)
        and all(isinstance(call["id"], str) and call["type"] == "function" for call in calls)
        and all(_shaped(call["function"], ("name", "arguments")) for call in calls)
        and all(_texts(call["function"], frozenset(call["function"])) for call in calls)
    )


def _plain_tools(tools: object, choice: object) -> bool:
    """Functions with no more than OpenAI's fields: SGLang has others of its own."""
    return (
        isinstance(tools, list)
        and len(tools) <= _MOST_TOOLS
        and all(_shaped(tool, ("type", "function")) for tool in tools)
        and all(tool["type"] == "function" and _is_function(tool["function"]) for tool in tools)
        and _is_choice(choice)
    )


def _is_function(function: object) -> bool:
    return (
        isinstance(function, dict)
        and _FUNCTION.issuperset(function)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("description", ""), str)
        and isinstance(function.get("parameters", {}), dict)
        and isinstance(function.get("strict", False), bool)
    )


def _is_choice(choice: object) -> bool:
    if choice is None or choice in ("auto", "none", "required"):
        return True
    return (
        _shaped(choice, ("type", "function"))
        and isinstance(choice, dict)
        and choice["type"] == "function"
        and _shaped(choice["function"], ("name",))
        and _texts(choice["function"], frozenset(("name",)))
    )


def _shaped(value: object, names: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and set(value) == set(names)


def _texts(value: dict[str, Any], names: frozenset[str]) -> bool:
    return names.issuperset(value) and all(isinstance(each, str) for each in value.values())
