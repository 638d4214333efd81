"""Prefixes that the operator shares with all tenants: system prompts, descriptions of tools.

The engine computes one itself, in a namespace that no gateway can name, and the tree then begins
each tenant's own part below it. No tenant's request writes there, and what one tenant learns from a
hit is the operator's text, which all know.
"""

from __future__ import annotations

import json
from typing import Any

from serving.engine_plugin.gate import own_request
from serving.engine_plugin.identity import PUBLIC_NAMESPACE
from serving.engine_plugin.verifier import ProofRefusedError


async def compute(manager: Any, body: bytes) -> None:
    """Prefill the beginning of a conversation: `{"messages": [...]}`, as the template renders it.

    Raises:
        ProofRefusedError: the body is something else, or too long.
    """
    from sglang.srt.managers.io_struct import GenerateReqInput

    tokens = _tokens(manager.tokenizer, body)
    own_request.set(PUBLIC_NAMESPACE)
    sampling = {"temperature": 0, "max_new_tokens": 1}
    request = GenerateReqInput(input_ids=tokens, sampling_params=sampling, log_metrics=False)
    try:
        async for _ in manager.generate_request(request, None):
            pass
    except ValueError:
        raise ProofRefusedError("body_refused") from None


def _tokens(tokenizer: Any, body: bytes) -> list[int]:
    try:
        messages = json.loads(body)["messages"]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    except Exception:  # whatever the template raises of a wrong conversation
        raise ProofRefusedError("body_refused") from None
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return tokens
