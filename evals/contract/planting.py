"""Near-identical documents in both tenants, each with a secret of its own; gone afterwards.

The tenants' documents differ in nothing but the secret, so what is relevant for one is relevant for
the other: only the tenant stands between a question and the wrong secret. Where a chat does ask
with the secret, its citations are judged alone: an answer that repeats its question is no leak.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from evals.contract.target import Pair, Tenant, UnjudgedError


@dataclass(frozen=True, slots=True)
class Plant:
    """What one tenant has been given."""

    shared_id: str  # the other tenant has a document of this id too
    own_id: str
    topic: str  # the same for both
    secret: str

    @property
    def question(self) -> str:
        """Asks for the secret without holding it."""
        return f"What is the return code of the {self.topic} lantern?"

    def text(self, document_id: str) -> str:
        """The document of this id. The two differ in a word: a search may show equal texts once."""
        verb = "returned" if document_id == self.shared_id else "exchanged"
        return (
            f"# Returns of the {self.topic} lantern\n\n"
            f"The {self.topic} lantern can be {verb}. "
            f"The return code of the {self.topic} lantern is {self.secret}."
        )


@asynccontextmanager
async def planted(pair: Pair) -> AsyncGenerator[dict[str, Plant], None]:
    """Plants by tenant name. At the end, however the block ends, neither tenant has any of them.

    Raises:
        UnjudgedError: the target takes no documents, or does not let go of them.
    """
    topic = f"zephyr{pair.nonce}"
    plants = {tenant.name: _plant(tenant, pair, topic) for tenant in (pair.a, pair.b)}
    try:
        for tenant in (pair.a, pair.b):
            plant = plants[tenant.name]
            for document_id in (plant.shared_id, plant.own_id):
                await put(tenant, document_id, plant.text(document_id))
        yield plants
    finally:
        # Each tenant's ids from both: a probe overwrites, and a leak may put one anywhere.
        ids = {name for plant in plants.values() for name in (plant.shared_id, plant.own_id)}
        stays = [
            f"{document_id} of {tenant.name}"
            for tenant in (pair.a, pair.b)
            for document_id in sorted(ids)
            if not await removed(tenant, document_id)
        ]
    if stays:
        raise UnjudgedError(f"what was planted cannot be removed: {', '.join(stays)}")


async def put(tenant: Tenant, document_id: str, text: str, groups: Sequence[str] = ()) -> None:
    """Give the tenant a document, of these groups.

    Raises:
        UnjudgedError: the target does not take it.
    """
    body: dict[str, Any] = {"id": document_id, "title": "Return codes", "text": text}
    if groups:
        body["groups"] = list(groups)
    reply = await tenant.send("POST", "/v1/documents", body)
    if not reply.is_success:
        raise UnjudgedError(f"POST /v1/documents answers {reply.status_code}")


async def removed(tenant: Tenant, document_id: str) -> bool:
    """Whether it is gone; one that cannot be removed does not keep the others."""
    try:
        reply = await tenant.send("DELETE", document_path(document_id))
    except UnjudgedError:
        return False
    return reply.is_success or reply.status_code == 404


def document_path(document_id: str) -> str:
    """The route of one document."""
    return f"/v1/documents/{quote(document_id, safe='')}"


def _plant(tenant: Tenant, pair: Pair, topic: str) -> Plant:
    return Plant(
        shared_id=f"verify-{pair.nonce}-codes",
        own_id=f"verify-{pair.nonce}-{secrets.token_hex(4)}",
        topic=topic,
        secret=f"QX{secrets.token_hex(5).upper()}",
    )
