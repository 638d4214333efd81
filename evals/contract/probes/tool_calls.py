"""Placeholders in the arguments of tool calls: another conversation's are resolved for nobody.

A choice that names a strict tool leaves the model one value to write, so it writes a placeholder
whether it can reason or not. A target that takes no tools, or does not write the one value, is not
judged here.
"""

from __future__ import annotations

import secrets
from typing import Any

from evals.contract.checks import Checks
from evals.contract.conversation import chat_body
from evals.contract.target import Pair, Tenant

# A grammar allows white space, and a small model may like it.
_SAMPLING = {"max_tokens": 200, "frequency_penalty": 2.0, "stop": ["</tool_call>"]}


async def attack(pair: Pair, checks: Checks) -> None:
    """A value that one conversation held comes back in no call of another, of either tenant."""
    for owner, other in pair.directions:
        mail = f"verify{secrets.token_hex(6)}@mail.example"
        own = await _called(owner, f"Look up my order, my e-mail is {mail}", mail, stream=False)
        if "tool_calls" not in own or mail not in own:
            return
        checks.control("a tool call brings back what its own conversation held", True)
        for asker in (owner, other):
            who = "the owner's next conversation" if asker is owner else "the other tenant"
            for stream in (False, True):
                answer = await _called(asker, "Look it up", "<EMAIL_ADDRESS_1>", stream=stream)
                checks.boundary(
                    f"a tool call of {who} ({'streamed' if stream else 'whole'}) resolves no "
                    "placeholder",
                    mail not in answer,
                    "another conversation's value",
                )


async def _called(tenant: Tenant, question: str, value: str, *, stream: bool) -> str:
    """The answer to a question that a call with this value must follow."""
    named = {"type": "function", "function": {"name": "find_order"}}
    parameters = {
        "type": "object",
        "properties": {"email": {"type": "string", "enum": [value]}},
        "required": ["email"],
        "additionalProperties": False,
    }
    more: dict[str, Any] = {"parameters": parameters, "strict": True}
    tool = {"type": "function", "function": {"name": "find_order", **more}}
    body = chat_body(question, stream=stream, tools=[tool], tool_choice=named)
    reply = await tenant.send("POST", "/v1/chat/completions", body | _SAMPLING)
    return reply.text if reply.status_code == 200 else ""
