"""The prefix cache as an oracle: does my prompt hit what another tenant sent?

Song et al., "The Early Bird Catches the Leak", 2024: whoever sees hits of others can guess their
prompts token by token. Judged by the engine's own count, not by time: a count does not jitter.
"""

from __future__ import annotations

from evals.contract.checks import Checks
from evals.contract.conversation import CHANCE, PROMPT_WORDS, chat, unsent_prompt
from evals.contract.target import Pair, Tenant, UnjudgedError


async def probe(pair: Pair, checks: Checks) -> None:
    """The same prompt from two tenants is computed twice, whole and streamed."""
    for victim, attacker in pair.directions:
        for stream in (False, True):
            await _twins(victim, attacker, stream, checks)


async def _twins(victim: Tenant, attacker: Tenant, stream: bool, checks: Checks) -> None:
    # The attacker's own prefixes (system text, turn markers) are warm before it is measured.
    await _cached(attacker, unsent_prompt(), stream)
    usual = await _cached(attacker, unsent_prompt(), stream)
    twin = unsent_prompt()
    first = await _cached(victim, twin, stream)
    again = await _cached(victim, twin, stream)
    seen = f"{first} tokens cached at first, {again} when repeated"
    if checks.control("a tenant hits its own prefix", again >= first + PROMPT_WORDS // 2, seen):
        stolen = await _cached(attacker, twin, stream)
        checks.boundary(
            "the twin of a foreign prompt hits nothing",
            stolen <= usual + CHANCE,
            f"{stolen} tokens cached, {usual} for a prompt that nobody sent",
        )


async def _cached(tenant: Tenant, prompt: str, stream: bool) -> int:
    # As an earlier turn: a question of random words may be refused before it meets the engine.
    answer = await chat(tenant, "Hello", earlier=prompt, stream=stream)
    if answer.cached_tokens is None:
        raise UnjudgedError("the target reports no usage.prompt_tokens_details.cached_tokens")
    return answer.cached_tokens
