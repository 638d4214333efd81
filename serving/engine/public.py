"""What the operator shares with all tenants, in an engine: published, measured, listed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from isolation.context import OperatorContext
from serving.engine.client import EngineClient
from serving.errors import PublicPrefixRefusedError

_ROUTE = "/bulkhead/v1/public"
# SGLang waits that long for a moment in which nothing runs.
_FLUSH = "POST /flush_cache?timeout=20"
_REASONS = {
    "too_long": (
        "The engine has room for {room} more public tokens, and these are {length}. "
        "Shorten them, or withdraw other prefixes with --now."
    ),
    "not_rendered": "The model's chat template does not take this system text with these tools.",
}


@dataclass(frozen=True)
class PublicPrefix:
    """The beginning of chats, as the engine gets them: their first turns, and the tools offered."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()

    @cached_property
    def body(self) -> dict[str, Any]:
        """As the engine is asked to publish it."""
        return {"messages": list(self.messages), "tools": list(self.tools)}

    @cached_property
    def name(self) -> str:
        """What the engine calls it, once it is public there."""
        return hashlib.sha256(orjson.dumps(self.body)).hexdigest()


@dataclass(frozen=True, slots=True)
class PublicState:
    """The engine's public part: names, tokens, and for how many more there is room."""

    names: frozenset[str]
    tokens: int
    room: int


class EnginePublic:
    """The operator's hand on one engine's public part."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    async def state(self, operator: OperatorContext) -> PublicState:
        """What is public there now: nothing, after a start or a flush.

        Raises:
            EngineUnavailableError: it does not answer.
        """
        ranks = (await self._client.ask(operator, f"GET {_ROUTE}"))["ranks"]
        names = frozenset.intersection(*(frozenset(rank["prefixes"]) for rank in ranks))
        return PublicState(
            names, max(rank["tokens"] for rank in ranks), min(rank["room"] for rank in ranks)
        )

    async def measure(self, operator: OperatorContext, prefix: PublicPrefix) -> int:
        """How many tokens it would be; nothing is published.

        Raises:
            PublicPrefixRefusedError: it cannot be published there.
            EngineUnavailableError: the engine does not answer.
        """
        return await self._length(operator, f"POST {_ROUTE}/measure", prefix)

    async def publish(self, operator: OperatorContext, prefix: PublicPrefix) -> int:
        """Let all tenants' chats that begin so find it computed; how many tokens it is.

        Raises:
            PublicPrefixRefusedError: it cannot be published there.
            EngineUnavailableError: the engine does not answer.
        """
        return await self._length(operator, f"POST {_ROUTE}", prefix)

    async def flush(self, operator: OperatorContext) -> None:
        """Empty the whole prefix cache, all tenants' included; waits for a moment without requests.

        Raises:
            EngineUnavailableError: it had none in 20 seconds, or does not answer.
        """
        await self._client.ask(operator, _FLUSH)

    async def _length(self, operator: OperatorContext, route: str, prefix: PublicPrefix) -> int:
        answer = await self._client.ask(operator, route, prefix.body)
        if reason := answer.get("refused"):
            raise PublicPrefixRefusedError(_REASONS[reason].format(**answer))
        return int(answer["length"])
