"""A loopback server that speaks the REST routes of Qdrant that our adapter uses, and keeps what it
was sent.

It is a fake: it stands in where no server can be installed, and the same tests run on a real one
when BULKHEAD_TEST_QDRANT_URL names it. Behind its routes is Qdrant Edge, the server's own engine,
so filters, fusion and term statistics are real. It does not show: strict mode, JWT, replicas,
consensus, shard transfers that take time, gRPC, a server's own limits and error texts.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.rag.loopback.engine import Body, Collection

VERSION = "1.20.0"
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]
    query: dict[str, str]


@dataclass
class Loopback:
    """The server's state. `fault` is asked before each request, and may answer in its place."""

    folder: Path
    version: str = VERSION
    url: str = ""
    collections: dict[str, Collection] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    made: int = 0
    seen: list[Seen] = field(default_factory=list)
    fault: Fault | None = None
    after: Fault | None = None

    def sent(self, path: str) -> list[Any]:
        """The bodies that came to routes that end so."""
        return [one.body for one in self.seen if one.path.endswith(path)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        self.seen.append(
            Seen(request.method, request.path, body, dict(request.headers), dict(request.query))
        )
        if self.fault is not None and (answer := await self.fault(request)) is not None:
            return answer
        result = self._answer(request.method, request.path.strip("/").split("/"), body)
        if self.after is not None and (answer := await self.after(request)) is not None:
            return answer
        return result

    def _answer(self, method: str, parts: list[str], body: Any) -> web.Response:
        match parts:
            case [""]:
                return web.json_response({"title": "qdrant", "version": self.version})
            case ["aliases"]:
                named = self.aliases.items()
                return _result(
                    {"aliases": [{"alias_name": one, "collection_name": of} for one, of in named]}
                )
            case ["collections"]:
                return _result({"collections": [{"name": name} for name in self.collections]})
            case ["collections", "aliases"]:
                return self._alias(body["actions"])
            case ["collections", name]:
                return self._collection(method, self.aliases.get(name, name), body)
            case ["collections", name, "exists"]:
                return _result({"exists": name in self.collections})
            case ["collections", name, *rest] if name in self.collections:
                return self._inside(method, self.collections[name], "/".join(rest), body)
            case _:
                return _error(404, "Not found")

    def _collection(self, method: str, name: str, body: Any) -> web.Response:
        match method, name in self.collections:
            case "PUT", False:
                self.made += 1
                self.collections[name] = Collection(self.folder / f"{self.made}", body)
                return _result(True)
            case "PUT", True:
                return _error(409, f"Collection `{name}` already exists!")
            case "GET", True:
                return _result(described(self.collections[name]))
            case "PATCH", True:
                there = self.collections[name].body
                there["metadata"] = (there.get("metadata") or {}) | body["metadata"]
                return _result(True)
            case "DELETE", True:
                self.collections.pop(name).close()
                self.aliases = {one: of for one, of in self.aliases.items() if of != name}
                return _result(True)
            case _:
                return _error(404, f"Collection `{name}` doesn't exist!")

    def _alias(self, actions: list[Body]) -> web.Response:
        """All of them or none, as a server does it."""
        changed = dict(self.aliases)
        for action in actions:
            match action:
                case {"delete_alias": body}:
                    changed.pop(body["alias_name"], None)
                case {"create_alias": body} if body["alias_name"] in self.collections:
                    return _error(409, "Collection with the same name already exists!")
                case {"create_alias": body} if body["collection_name"] in self.collections:
                    changed[body["alias_name"]] = body["collection_name"]
                case _:
                    return _error(404, "Not found: Collection doesn't exist!")
        self.aliases = changed
        return _result(True)

    def _inside(self, method: str, there: Collection, path: str, body: Any) -> web.Response:
        match method, path:
            case "PUT", "index":
                there.index(body["field_name"], body["field_schema"])
            case "PUT", "points":
                there.upsert(body)
            case "POST", "points/delete":
                there.delete(body)
            case "POST", "points/batch":
                for operation in body["operations"]:
                    _apply(there, operation)
                return _result([_UPDATED for _ in body["operations"]])
            case "POST", "points/count":
                return _result({"count": there.count(body)})
            case "POST", "points/scroll":
                records, rest = there.scroll(body)
                return _result({"points": records, "next_page_offset": rest})
            case "POST", "points/query":
                return _result({"points": there.query(body)})
            case _:
                return self._shards(method, there, path, body)
        return _result(_UPDATED)

    def _shards(self, method: str, there: Collection, path: str, body: Any) -> web.Response:
        match method, path:
            case "GET", "shards":
                return _result({"shard_keys": [{"key": key} for key in there.shards]})
            case "PUT", "shards":
                if body["shard_key"] in there.shards:
                    return _error(400, "Sharding key already exists")
                there.add_shard(body["shard_key"])
                if body.get("initial_state") == "Partial":
                    there.partial.add(body["shard_key"])
            case "POST", "shards/delete":
                there.drop_shard(body["shard_key"])
            case "GET", "cluster":
                return _result(_cluster(there))
            case "POST", "cluster":
                there.replicate(body["replicate_points"])
            case _:
                return _error(404, "Not found")
        return _result(True)


_UPDATED = {"operation_id": 0, "status": "completed"}


def _apply(there: Collection, operation: Body) -> None:
    match operation:
        case {"set_payload": body}:
            there.set_payload(body)
        case {"delete": body}:
            there.delete(body)
        case {"upsert": body}:
            there.upsert(body)
        case _:
            raise AssertionError("an operation that the loopback does not know")


def described(there: Collection) -> Body:
    """What a server says of a collection."""
    body = there.body
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "points_count": there.count({}),
        "config": {
            "params": {
                "vectors": body["vectors"],
                "sparse_vectors": body["sparse_vectors"],
                "shard_number": body.get("shard_number") or 1,
                "sharding_method": body.get("sharding_method"),
            },
            "hnsw_config": {"ef_construct": 100, "full_scan_threshold": 10_000, "m": 16}
            | {name: value for name, value in body["hnsw_config"].items() if value is not None},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
            "strict_mode_config": body.get("strict_mode_config"),
            "metadata": body.get("metadata"),
        },
        "payload_schema": {
            name: {"data_type": "keyword", "params": schema, "points": 0}
            for name, schema in there.schema.items()
        },
    }


def _cluster(there: Collection) -> Body:
    shards = [
        {
            "shard_id": number,
            "shard_key": key,
            "points_count": there.shards[key].info().points_count,
            "state": "Partial" if key in there.partial else "Active",
        }
        for number, key in enumerate(there.shards)
    ]
    return {
        "peer_id": 1,
        "shard_count": len(shards),
        "local_shards": shards,
        "remote_shards": [],
        "shard_transfers": [],
    }


def _result(result: Any) -> web.Response:
    return web.json_response({"usage": None, "result": result, "status": "ok", "time": 0.001})


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"status": {"error": text}, "time": 0.001}, status=status)


@asynccontextmanager
async def loopback() -> AsyncGenerator[Loopback, None]:
    """A server on a free port of this machine, while the block runs."""
    with tempfile.TemporaryDirectory(prefix="loopback-") as folder:
        state = Loopback(Path(folder))
        app = web.Application(client_max_size=64_000_000)
        app.router.add_route("*", "/{path:.*}", state.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        state.url = f"http://{host}:{port}"
        try:
            yield state
        finally:
            await runner.cleanup()
            for collection in state.collections.values():
                collection.close()
            await asyncio.sleep(0)
