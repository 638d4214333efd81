"""A tenant's client of a gateway, for applications: one key, one tenant, nothing else to name.

There is no parameter for a tenant here: which one it is, the key says. Chats go through any OpenAI
client with the same key.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import quote

import httpx

from isolation.errors import BulkheadError
from rag.filter_json import filter_as_json
from rag.filters import Metadata, Where

P = ParamSpec("P")
T = TypeVar("T")

_TIMEOUT = httpx.Timeout(60, connect=5)


class GatewayError(BulkheadError):
    """The gateway refused, or could not be reached. `code` is the gateway's own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage of the tenant's own documents."""

    document_id: str
    title: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document of the tenant, as the gateway lists it."""

    id: str
    title: str
    chunks: int


def _on_a_thread(
    method: Callable[Concatenate[TenantClient, P], T],
) -> Callable[Concatenate[TenantClient, P], Coroutine[Any, Any, T]]:
    """The async twin of a method that blocks."""

    @functools.wraps(method)
    async def twin(self: TenantClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self, *args, **kwargs)

    return twin


@dataclass(slots=True)
class TenantClient:
    """One tenant's knowledge base over HTTP. Thread-safe; every method has an async twin `a...`.

    Raises everywhere:
        GatewayError: refused, with the gateway's code; `gateway_unreachable` when it is away.
    """

    base_url: str
    api_key: str = field(repr=False)
    transport: httpx.BaseTransport | None = field(default=None, repr=False)
    _http: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {self.api_key}"},
            timeout=_TIMEOUT,
            transport=self.transport,
        )

    def search(
        self, query: str, *, limit: int = 5, where: Where | None = None
    ) -> list[FoundPassage]:
        """The best passages for a question, best first; `limit` is at most 50.

        where: of the documents whose metadata it holds for (`rag.filters`).
        """
        body: dict[str, Any] = {"query": query, "top_k": limit}
        if where is not None:
            body["filter"] = filter_as_json(where)
        found = self._send("POST", "/v1/search", body)
        return [
            FoundPassage(one["document_id"], one["title"], one["text"], one["score"])
            for one in found["data"]
        ]

    def put(
        self,
        document_id: str,
        text: str,
        *,
        title: str = "",
        metadata: Metadata | None = None,
        groups: Sequence[str] = (),
    ) -> StoredDocument:
        """Make `text` the one version of the document. When this returns, it is kept.

        groups: only keys of one of these see it, beside unrestricted keys; none: all of the tenant.
        """
        body = {
            **{"id": document_id, "title": title, "text": text},
            **{"metadata": dict(metadata or {}), "groups": list(groups)},
        }
        return _stored(self._send("POST", "/v1/documents", body))

    def documents(self) -> list[StoredDocument]:
        """All documents, by id."""
        listed: list[StoredDocument] = []
        path = "/v1/documents"
        while True:
            page = self._send("GET", path)
            listed += map(_stored, page["data"])
            if not page.get("has_more"):
                return listed
            path = f"/v1/documents?after={quote(listed[-1].id, safe='')}"

    def delete(self, document_id: str) -> None:
        """Delete one document; `document_not_found` if there is none."""
        self._send("DELETE", f"/v1/documents/{quote(document_id, safe='')}")

    asearch = _on_a_thread(search)
    aput = _on_a_thread(put)
    adocuments = _on_a_thread(documents)
    adelete = _on_a_thread(delete)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            reply = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise GatewayError(
                "gateway_unreachable", f"{self.base_url} does not answer: {type(error).__name__}."
            ) from None
        try:
            content: dict[str, Any] = reply.json()
            if reply.is_success:
                return content
            refused = content["error"]
            code, message = str(refused["code"]), str(refused["message"])
        except (ValueError, KeyError, TypeError):
            code, message = "unexpected_answer", f"The gateway answers {reply.status_code}."
        raise GatewayError(code, message)


def _stored(entry: dict[str, Any]) -> StoredDocument:
    return StoredDocument(entry["id"], entry["title"], entry["chunks"])
