"""A collection behind the loopback server: Qdrant Edge, the server's own engine, in this process.

One Edge shard stands for one shard of a server. What it cannot show is listed in `server`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    Expression,
    FieldCondition,
    Filter,
    Formula,
    HasIdCondition,
    HnswIndexConfig,
    IdfParams,
    KeywordIndexParams,
    MatchAny,
    MatchValue,
    Modifier,
    Point,
    Prefetch,
    Query,
    QueryRequest,
    RangeFloat,
    ScrollRequest,
    SearchParams,
    SparseVector,
    UpdateOperation,
    VectorStorageDatatype,
)

Body = dict[str, Any]


class Collection:
    """One collection: its settings as they came, and its shards by key (None: the only one)."""

    def __init__(self, folder: Path, body: Body) -> None:
        self._folder = folder
        self.body = body
        self.schema: dict[str, Body] = {}
        self.shards: dict[str | None, EdgeShard] = {}
        self.partial: set[str | None] = set()
        if body.get("sharding_method") != "custom":
            self.add_shard(None)

    def add_shard(self, key: str | None) -> None:
        path = self._folder / str(len(self.shards))
        path.mkdir(parents=True)
        self.shards[key] = EdgeShard.create(str(path), _config(self.body))
        for field, schema in self.schema.items():
            self._index(self.shards[key], field, schema)

    def index(self, field: str, schema: Body) -> None:
        self.schema[field] = schema
        for shard in self.shards.values():
            self._index(shard, field, schema)

    @staticmethod
    def _index(shard: EdgeShard, field: str, schema: Body) -> None:
        params = KeywordIndexParams(is_tenant=bool(schema.get("is_tenant")))
        shard.update(UpdateOperation.create_field_index(field, params))

    def routed(self, selector: Any) -> list[EdgeShard]:
        """The shards that a request goes to, as a server routes it."""
        if selector is None:
            return list(self.shards.values())
        if isinstance(selector, str):
            return [self.shards[selector]]
        target = selector["target"]
        there = target in self.shards and target not in self.partial
        return [self.shards[target if there else selector["fallback"]]]

    def upsert(self, body: Body) -> None:
        points = [
            Point(
                id=point["id"],
                vector={name: _vector(vector) for name, vector in point["vector"].items()},
                payload=point["payload"],
            )
            for point in body["points"]
        ]
        (shard,) = self.routed(body.get("shard_key"))
        shard.update(UpdateOperation.upsert_points(points, _optional(body.get("update_filter"))))

    def delete(self, body: Body) -> None:
        for shard in self.routed(body.get("shard_key")):
            shard.update(UpdateOperation.delete_points_by_filter(made(body["filter"])))

    def set_payload(self, body: Body) -> None:
        for shard in self.routed(body.get("shard_key")):
            shard.update(
                UpdateOperation.set_payload_by_filter(made(body["filter"]), body["payload"])
            )

    def count(self, body: Body) -> int:
        asked = _optional(body.get("filter"))
        shards = self.routed(body.get("shard_key"))
        return sum(shard.count(CountRequest(exact=True, filter=asked)) for shard in shards)

    def scroll(self, body: Body) -> tuple[list[Body], Any]:
        (shard,) = self.routed(body.get("shard_key"))
        request = ScrollRequest(
            offset=body.get("offset"),
            limit=body["limit"],
            filter=_optional(body.get("filter")),
            with_payload=body["with_payload"],
            with_vector=body.get("with_vector") or False,
        )
        records, rest = shard.scroll(request)
        found = [
            {"id": str(one.id), "payload": one.payload, "vector": _plain(one.vector)}
            for one in records
        ]
        return found, None if rest is None else str(rest)

    def query(self, body: Body) -> list[Body]:
        (shard,) = self.routed(body.get("shard_key"))
        request = QueryRequest(
            limit=body["limit"],
            prefetches=[_prefetch(leg) for leg in body["prefetch"]],
            query=_formula(body["query"]),
            filter=_optional(body.get("filter")),
            with_payload=body["with_payload"],
            with_vector=body.get("with_vector") or False,
        )
        return [
            {
                **{"id": str(hit.id), "version": 0, "score": hit.score, "payload": hit.payload},
                "vector": _plain(hit.vector),
            }
            for hit in shard.query(request)
        ]

    def replicate(self, body: Body) -> None:
        """All at once; a server does it in the background, while it serves."""
        source, target = body["from_shard_key"], body["to_shard_key"]
        request = ScrollRequest(
            limit=1_000_000,
            filter=_optional(body.get("filter")),
            with_payload=True,
            with_vector=True,
        )
        records, _ = self.shards[source].scroll(request)
        points = [Point(id=one.id, vector=one.vector, payload=one.payload) for one in records]
        if points:
            self.shards[target].update(UpdateOperation.upsert_points(points))
        self.partial.discard(target)

    def drop_shard(self, key: str) -> None:
        self.shards.pop(key).close()
        self.partial.discard(key)

    def close(self) -> None:
        for shard in self.shards.values():
            shard.close()


def made(body: Body) -> Filter:
    """A filter of JSON."""
    parts = {name: _conditions(body.get(name)) for name in ("must", "should", "must_not")}
    return Filter(**{name: part for name, part in parts.items() if part is not None})


def _optional(body: Body | None) -> Filter | None:
    return None if body is None else made(body)


def _conditions(bodies: Any) -> list[Any] | None:
    if bodies is None:
        return None
    return [_condition(one) for one in (bodies if isinstance(bodies, list) else [bodies])]


def _condition(body: Body) -> Any:
    if "has_id" in body:
        return HasIdCondition(set(body["has_id"]))
    if "key" not in body:
        return made(body)
    if (bounds := body.get("range")) is not None:
        asked = RangeFloat(gte=bounds.get("gte"), lte=bounds.get("lte"))
        return FieldCondition(key=body["key"], range=asked)
    match = body["match"]
    if "any" in match:
        return FieldCondition(key=body["key"], match=MatchAny(any=match["any"]))
    return FieldCondition(key=body["key"], match=MatchValue(value=match["value"]))


def _prefetch(body: Body) -> Prefetch:
    params = body.get("params") or {}
    corpus = (params.get("idf") or {}).get("corpus")
    return Prefetch(
        limit=body["limit"],
        query=Query.Nearest(_vector(body["query"]), using=body["using"]),
        filter=_optional(body.get("filter")),
        params=SearchParams(
            hnsw_ef=params.get("hnsw_ef"), idf=IdfParams(corpus=made(corpus)) if corpus else None
        ),
    )


def _formula(body: Body) -> Formula:
    """A sum of weighted scores."""
    parts = [
        Expression.Mult([Expression.Constant(weight), Expression.Variable(score)])
        for weight, score in (part["mult"] for part in body["formula"]["sum"])
    ]
    return Formula(Expression.Sum(parts), defaults=body["defaults"])


def _vector(body: Any) -> Any:
    if isinstance(body, dict):
        return SparseVector(indices=body["indices"], values=body["values"])
    return body


def _plain(vectors: Any) -> Any:
    if not isinstance(vectors, dict):
        return None
    return {
        name: vector
        if isinstance(vector, list)
        else {"indices": vector.indices, "values": vector.values}
        for name, vector in vectors.items()
    }


def _config(body: Body) -> EdgeConfig:
    hnsw = {name: value for name, value in body["hnsw_config"].items() if value is not None}
    index = HnswIndexConfig(**hnsw)
    (dense,) = body["vectors"].items()
    (sparse,) = body["sparse_vectors"]
    assert dense[1]["datatype"] == "float16"
    vectors = EdgeVectorParams(
        size=dense[1]["size"],
        distance=Distance.Cosine,
        datatype=VectorStorageDatatype.Float16,
        hnsw_config=index,
    )
    return EdgeConfig(
        vectors={dense[0]: vectors},
        sparse_vectors={sparse: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        hnsw_config=index,
        wal_enabled=False,
    )
