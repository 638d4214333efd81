"""A platform in memory that speaks Bulkhead's API, with one switch for each way to leak.

Without switches it is tight, and the suite must find nothing. With one, the suite must find it: a
suite that passes everything proves nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.contract.refusing import RefusedError, refused
from tests.contract.twin_adapters import TwinAdapters
from tests.contract.twin_limits import COST, TwinLimits

KEYS = {
    "bk_aaaaaaaaaaaaaaaa_" + "A" * 43: "acme",
    "bk_bbbbbbbbbbbbbbbb_" + "B" * 43: "birch",
}
# Keys of one group: the tenant, and the group.
MEMBERS = {
    "bk_eeeeeeeeeeeeeeee_" + "E" * 43: ("acme", "support"),
    "bk_ffffffffffffffff_" + "F" * 43: ("birch", "support"),
}
_ALLOWED = {
    *("model", "messages", "max_tokens", "stream", "stream_options", "placeholders"),
    *("tools", "tool_choice", "frequency_penalty", "stop"),
}
_LINK = re.compile(r"(?:https?:)?//\S+", re.IGNORECASE)
_EMAIL = re.compile(r"\S+@[\w-]+(?:\.[\w-]+)+")
_SYSTEM = ["You", "are", "a", "shop", "'s", "assistant", "."]


class Twin:
    """`faults`: names of leaks, and of services that do not work."""

    def __init__(self, *faults: str) -> None:
        self._faults = set(faults)
        self.documents: dict[tuple[str, str], str] = {}
        self._groups: dict[tuple[str, str], set[str]] = {}
        self._requests = dict.fromkeys(KEYS.values(), 0)
        self._tokens = dict.fromkeys(KEYS.values(), 0)
        self._vault: dict[str, dict[str, str]] = {}
        self._tokens_given: dict[str, tuple[str, str, str]] = {}
        self._prefixes: dict[str, list[list[str]]] = {}
        self._limits = TwinLimits(self._has)
        self.adapters = TwinAdapters(self._has, self._tenant)

    def app(self) -> Starlette:
        one = "/v1/documents/{document_id}"
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/documents", self._list),
            Route("/v1/documents", self._put, methods=["POST"]),
            Route(one, self._get),
            Route(one, self._delete, methods=["DELETE"]),
            Route("/v1/search", self._search, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/placeholders", self._resolve, methods=["POST"]),
            Route("/v1/usage", self._usage),
            Route("/v1/export", self._export),
            *self.adapters.routes(),
        ]
        return Starlette(routes=routes, exception_handlers={RefusedError: refused})

    def _has(self, fault: str) -> bool:
        return fault in self._faults

    def _tenant(self, request: Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and key in MEMBERS and not self._has("no key opens"):
            return MEMBERS[key][0]
        if scheme == "Bearer" and key in KEYS and not self._has("no key opens"):
            return KEYS[key]
        if self._has("wrong keys are refused in other words"):
            raise RefusedError(401, "unauthorized")
        known = any(key.startswith(right[:20]) for right in KEYS)
        if self._has("keys: the secret is not compared") and known:
            return next(name for right, name in KEYS.items() if key.startswith(right[:20]))
        if self._has("keys: a known id is told apart by the body") and known:
            raise RefusedError(401, "wrong_secret")
        if self._has("keys: a known id is told apart by a header") and known:
            raise RefusedError(401, "invalid_api_key", **{"x-attempts-left": "4"})
        if self._has("keys: a known id is told apart by the status") and known:
            raise RefusedError(403, "invalid_api_key")
        if self._has("keys: the case is ignored") and key.swapcase() in KEYS:
            return KEYS[key.swapcase()]
        raise RefusedError(401, "invalid_api_key")

    def _group(self, request: Request) -> str | None:
        """The group that the key is restricted to."""
        key = request.headers.get("authorization", "").partition(" ")[2]
        return MEMBERS[key][1] if key in MEMBERS else None

    def _seen(self, group: str | None, way: str) -> set[tuple[str, str]]:
        """What a key of this group may see, of any tenant."""
        if group is None or self._has(f"groups: {way} forgets them"):
            return set(self.documents)
        return {key for key in self.documents if not (of := self._groups.get(key)) or group in of}

    def _require_writer(self, request: Request, step: str) -> None:
        if self._group(request) is not None and not self._has(f"groups: their keys {step}"):
            raise RefusedError(403, "key_is_restricted")

    async def _export(self, request: Request) -> Response:
        tenant, seen = self._tenant(request), self._seen(self._group(request), "the export")
        lines = [f"{key[1]}: {self.documents[key]}" for key in seen if key[0] == tenant]
        return Response("\n".join(lines))

    async def _models(self, request: Request) -> Response:
        tenant = self._tenant(request)
        return JSONResponse({"data": [{"id": "base"}, *self.adapters.models(tenant)]})

    async def _list(self, request: Request) -> Response:
        tenant = self._tenant(request)
        if self._has("controls: a header chooses the tenant"):
            tenant = request.headers.get("x-tenant-id", tenant)
        if self._has("controls: the URL chooses the tenant"):
            tenant = request.query_params.get("tenant", tenant)
        everybody = self._has("documents: the list is everybody's")
        seen = self._seen(self._group(request), "the list")
        ids = [key[1] for key in self.documents if key in seen and (everybody or key[0] == tenant)]
        return JSONResponse({"data": [{"id": name} for name in ids]})

    async def _put(self, request: Request) -> Response:
        tenant, body = self._tenant(request), await request.json()
        self._require_writer(request, "write")
        self._require(body, isinstance(body.get("text"), str))
        owner = self._owner(body["id"], tenant) if self._has("documents: ids are global") else None
        if self._has("documents: all of the same id are replaced"):
            for key in [key for key in self.documents if key[1] == body["id"]]:
                self.documents[key] = body["text"]
        if not self._has("documents are not kept"):
            self.documents[owner or tenant, body["id"]] = body["text"]
            self._groups[owner or tenant, body["id"]] = set(body.get("groups", []))
        return JSONResponse({"id": body["id"], "title": "", "chunks": 1})

    async def _get(self, request: Request) -> Response:
        tenant, name = self._tenant(request), request.path_params["document_id"]
        owner = self._owner(name, tenant)
        foreign = owner not in (None, tenant)
        if foreign and self._has("documents: foreign ones are forbidden, not unknown"):
            raise RefusedError(403, "forbidden")
        if foreign and self._has("documents: foreign ones are unknown in other words"):
            raise RefusedError(404, "document_not_yours")
        if (tenant, name) not in self._seen(self._group(request), "a document") and not foreign:
            raise RefusedError(404, "document_not_found")
        if owner is None or (foreign and not self._has("documents: foreign ones are read")):
            raise RefusedError(404, "document_not_found")
        return JSONResponse({"id": name, "chunks": len(self.documents[owner, name])})

    async def _delete(self, request: Request) -> Response:
        tenant, name = self._tenant(request), request.path_params["document_id"]
        self._require_writer(request, "delete")
        if self._has("documents of one id stay") and name.endswith("-codes"):
            raise RefusedError(500, "internal_error")
        if (tenant, name) not in self.documents:
            raise RefusedError(404, "document_not_found")
        del self.documents[tenant, name]
        if self._has("documents: all of the same id are deleted"):
            for key in [key for key in self.documents if key[1] == name]:
                del self.documents[key]
        return JSONResponse({"deleted": True})

    def _owner(self, name: str, tenant: str) -> str | None:
        owners = [owner for owner, known in self.documents if known == name]
        return tenant if tenant in owners else next(iter(owners), None)

    async def _search(self, request: Request) -> Response:
        tenant, body = self._tenant(request), await request.json()
        self._require(body, isinstance(body.get("query"), str))
        if self._has("search: the body chooses the tenant"):
            tenant = body.get("tenant_id", tenant)
        if self._has("search: the query is a filter language") and "OR 1=1" in body["query"]:
            tenant = body["query"].split('"')[1]
        if self._has("controls: a header chooses the search's tenant"):
            tenant = request.headers.get("x-tenant-id", tenant)
        if self._has("controls: the URL chooses the search's tenant"):
            tenant = request.query_params.get("tenant", tenant)
        everybody = self._has("search: the predicate is missing") or (
            self._has("search: a filter stands in for the predicate")
            and "not" in body.get("filter", {})
        )
        group = self._group(request)
        if self._has("groups: a filter stands in for them") and "filter" in body:
            group = None
        found = self._found(tenant, body["query"], everybody, self._seen(group, "the search"))
        if self._has("groups: they reach other tenants") and group is not None:
            named = {key for key in self.documents if group in self._groups.get(key, set())}
            found += self._found(tenant, body["query"], True, named)
        if self._has("search: relevance is checked and the tenant is not") and not found:
            found = self._found(tenant, body["query"], everybody=True)
        facets = [name for _, name in self.documents if self._has("search: counts hold all ids")]
        score = 1.0
        if self._has("influence: scores count everybody's documents"):
            score /= 1 + len(self._found(tenant, body["query"], everybody=True))
        if self._has("influence: the best of all are filtered afterwards"):
            best = self._found(tenant, body["query"], everybody=True)[-body.get("top_k", 5) :]
            found = [one for one in found if one in best]
        if self._has("influence: what anybody has is told"):
            facets.append(str(body["query"] in self.documents.values()))
        data = [{"document_id": d, "title": d, "text": t, "score": score} for d, t in found]
        return JSONResponse({"data": data, "facets": facets})

    def _found(
        self,
        tenant: str,
        query: str,
        everybody: bool,
        seen: set[tuple[str, str]] | None = None,
    ) -> list[tuple[str, str]]:
        if self._has("search finds nothing"):
            return []
        words = {word.strip("?.").lower() for word in query.split()}
        return [
            (name, text)
            for (owner, name), text in self.documents.items()
            if (everybody or owner == tenant)
            and (seen is None or (owner, name) in seen)
            and words & {w.strip(".").lower() for w in text.split()}
        ]

    async def _chat(self, request: Request) -> Response:
        tenant, body = self._tenant(request), await request.json()
        if self._has("the chat is away"):
            raise RefusedError(500, "internal_error")
        options = set(body.get("stream_options", {})) - {"include_usage"}
        if options and not self._has("controls: they are taken among the stream's options"):
            raise RefusedError(400, "parameter_not_allowed")
        if set(body) - _ALLOWED and not self._has("controls: they are taken"):
            raise RefusedError(400, "parameter_not_allowed")
        self._require(body, _is_chat(body))
        self.adapters.require(tenant, body["model"])
        self._count(tenant)
        limits, question = self._limits.headers(tenant), body["messages"][-1]["content"]
        if "tools" in body:
            return JSONResponse(self._tool_call(tenant, question, body["tools"][0]["function"]))
        streamed = bool(body.get("stream"))
        leaks = self._has(f"chat: {'streams' if streamed else 'answers'} cite everybody")
        leaks |= self._has("chat: a code is looked up everywhere") and "QX" in question
        if self._has("controls: a header chooses the chat's tenant"):
            tenant = request.headers.get("x-tenant-id", tenant)
        seen = self._seen(self._group(request), "the stream" if streamed else "the chat")
        found = self._found(tenant, question, leaks, seen)
        text = found[0][1] if found else "I do not know."
        if self._has("chat: it obeys injected instructions") and "Ignore" in question:
            text = " ".join(self.documents.values())
        text = f"{self._unmasked(tenant, question)} {self._guarded('answers', streamed, text)}"
        citations = [
            {
                "document_id": name,
                "title": name,
                "quote": self._guarded("citations", streamed, quote),
                "cited": True,
            }
            for name, quote in found
        ]
        cached = self._cached(tenant, body, streamed)
        usage = {"total_tokens": COST, "prompt_tokens_details": {"cached_tokens": cached}}
        if not streamed:
            choice = {"message": {"role": "assistant", "content": text}}
            more = self._conversation(tenant, question) if "placeholders" in body else {}
            answer = {"choices": [choice], "citations": citations, "usage": usage}
            return JSONResponse(answer | more, headers=limits)
        return StreamingResponse(_events(text, citations, usage), media_type="text/event-stream")

    def _require(self, body: dict[str, Any], well_formed: bool) -> None:
        if not well_formed:
            quoted = self._has("refusals: they quote the body")
            raise RefusedError(400, f"invalid: {body}" if quoted else "invalid_request")

    def _guarded(self, what: str, streamed: bool, text: str) -> str:
        """Without links, where nothing is broken."""
        fault = f"output: links stay in {what}"
        leaks = self._has(fault) or (streamed and self._has(f"{fault} that are streamed"))
        return text if leaks else _LINK.sub("[link removed]", text)

    def _unmasked(self, tenant: str, question: str) -> str:
        """What an answer says where it repeats a placeholder."""
        common = self._has("placeholders: one table for all")
        mine = self._vault.setdefault("" if common else tenant, {})
        for value in _EMAIL.findall(question):
            mine.setdefault("<EMAIL_ADDRESS_1>", value)
        outlives = common or self._has("placeholders: the table outlives its request")
        return mine.get("<EMAIL_ADDRESS_1>", "") if outlives and "<EMAIL" in question else ""

    def _tool_call(self, tenant: str, question: str, function: dict[str, Any]) -> dict[str, Any]:
        """A call with the one value that the schema allows."""
        common = self._has("placeholders: tool calls have one table for all")
        mine = self._vault.setdefault("tools" if common else f"tools {tenant}", {})
        for found in _EMAIL.findall(question):
            mine["<EMAIL_ADDRESS_1>"] = found
        (value,) = function["parameters"]["properties"]["email"]["enum"]
        outlives = common or self._has(
            "placeholders: tool calls have a table that outlives its request"
        )
        value = mine.get(value, value) if outlives else value
        call = {"name": function["name"], "arguments": json.dumps({"email": value})}
        message = {"role": "assistant", "tool_calls": [{"id": "c", "function": call}]}
        return {"choices": [{"message": message}]}

    def _conversation(self, tenant: str, question: str) -> dict[str, Any]:
        name = f"c{len(self._tokens_given)}"
        token = f"ct1.{name}." + "x" * 60
        self._tokens_given[token] = (tenant, name, " ".join(_EMAIL.findall(question)))
        return {"conversation": {"id": name, "token": token}}

    async def _resolve(self, request: Request) -> Response:
        tenant, body = self._tenant(request), await request.json()
        owner, name, value = self._given(body["token"], body["conversation"])
        wrong_tenant = owner != tenant and not self._has("placeholders: a token opens for anybody")
        everywhere = self._has("placeholders: a token opens every conversation")
        if wrong_tenant or (name != body["conversation"] and not everywhere):
            raise RefusedError(403, "invalid_conversation_token")
        return JSONResponse({"data": [{"placeholder": "<EMAIL_ADDRESS_1>", "value": value}]})

    def _given(self, token: str, conversation: str) -> tuple[str, str, str]:
        known = self._tokens_given.get(token)
        if self._has("placeholders: no token is needed"):
            known = next(one for one in self._tokens_given.values() if one[1] == conversation)
        if self._has("placeholders: the token is not checked") and token:
            known = next(v for k, v in self._tokens_given.items() if k[:6] == token[:6])
        if known is None:
            raise RefusedError(403, "invalid_conversation_token")
        return known

    def _count(self, tenant: str) -> None:
        if self._has("usage is not counted"):
            return
        everybody = self._has("usage: everybody pays")
        for name in KEYS.values() if everybody else [tenant]:
            self._requests[name] += 1
        everybody |= self._has("usage: everybody pays the tokens")
        for name in KEYS.values() if everybody else [tenant]:
            self._tokens[name] += 10

    def _cached(self, tenant: str, body: dict[str, Any], streamed: bool) -> int | None:
        if self._has("cached tokens are not reported"):
            return None
        common = self._has("prefix-cache: one tree for all")
        common |= streamed and self._has("prefix-cache: one tree for all that is streamed")
        model = "" if common else self.adapters.cache_of(tenant, body["model"])
        space = "" if common else f"{tenant} {model}"
        said = " ".join(message["content"] for message in body["messages"])
        prompt = [*_SYSTEM, *said.split()]
        known = self._prefixes.setdefault(space, [])
        hit = max((_common(prompt, earlier) for earlier in known), default=0)
        known.append(prompt)
        return 0 if self._has("the prefix cache is off") else hit

    async def _usage(self, request: Request) -> Response:
        tenant = self._tenant(request)
        sums = {"requests": self._requests[tenant], "prompt_tokens": self._tokens[tenant]}
        return JSONResponse(sums)


def _is_chat(body: dict[str, Any]) -> bool:
    messages = body.get("messages")
    return (
        isinstance(messages, list)
        and all(isinstance(each.get("content"), str) for each in messages)
        and isinstance(body.get("model"), str)
        and isinstance(body.get("max_tokens", 1), int)
    )


def _common(a: list[str], b: list[str]) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def _events(text: str, citations: list[Any], usage: dict[str, Any]) -> Iterator[str]:
    yield f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n"
    yield f"data: {json.dumps({'choices': [{'delta': {}}], 'citations': citations})}\n\n"
    yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"
