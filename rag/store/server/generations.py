"""Generations on a Qdrant server: a collection each, and an alias that names the one that answers.

bulkhead                   the first one, which is also what there was before there were generations
bulkhead-0002, ...         the later ones
bulkhead-current           the alias; without it, the first one answers

Requests name the collection and not the alias: a question is embedded by the model of the vectors
that it meets, and an alias would change those between the two.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict

from qdrant_client import models

from isolation.context import OperatorContext, require_operator
from isolation.tenant_id import TenantId
from rag.errors import StoreError, UnsafeCollectionError
from rag.store.generations import Generations, MadeWith, require_same_model
from rag.store.server.connection import MANAGE_SECONDS, Connection, ServerAddress
from rag.store.server.placement import Placement, Routing
from rag.store.server.shared import SharedCollection
from rag.store.server.store import ServerVectorStore
from rag.store.terms import TermCounter, TermSpace

# In a collection's metadata. `of`: the first generation's name, so that nobody else's collection of
# a similar name is ever dropped.
_MANIFEST, _OF = "bulkhead", "of"
# Of collections whose points are counted or deleted, and not searched.
_NO_TERMS = TermCounter(TermSpace.own)


def alias_of(collection: str) -> str:
    """The alias that names the generation of now."""
    return f"{collection}-current"


class ServerGenerations(Generations):
    """Of one installation, which several gateways may share.

    name: the collection that answers, where the gateways have agreed on it; None: the alias's.
    """

    def __init__(
        self, address: ServerAddress, collection: str = "bulkhead", placement: Placement = "shared"
    ) -> None:
        self._address = address
        self._first = collection
        self._placement: Placement = placement
        self._filling: str | None = None
        self.name: str | None = None

    async def open(self, made: MadeWith) -> ServerVectorStore:
        async with self._connected() as connection:
            name = await self._current(connection)
            there = await self._there(connection, name)
            found = await self._made_with(connection, name) if there else None
        if found is None and there:
            store = await self._opened(name, made.with_shared_terms)
            await self._adopt(store, made.with_shared_terms)
            return store
        if found is not None:
            require_same_model(found, made)
        return await self._opened(name, found or made)

    async def aliased(self) -> str:
        """The collection that the alias names; without one, the first."""
        async with self._connected() as connection:
            return await self._aliased(connection)

    async def fill(
        self, operator: OperatorContext, made: MadeWith, *, resume: bool
    ) -> ServerVectorStore:
        require_operator(operator, "filling a generation")
        async with self._connected() as connection:
            now = self._number(await self._current(connection))
            others = await self._others(connection)
            left = [
                name
                for name in others
                if resume
                and self._number(name) > now
                and await self._made_with(connection, name) == made
            ][-1:]
            await self._drop(connection, [name for name in others if name not in left])
        name = left[0] if left else f"{self._first}-{now + 1:04}"
        store = await self._opened(name, made)
        self._filling = name
        await self._carry_placement(operator, store)
        return store

    async def switch(self, operator: OperatorContext) -> None:
        require_operator(operator, "switching generations")
        if self._filling is None:
            raise StoreError("No generation is being filled.")
        await self._point_to(self._filling)
        self._filling = None

    async def point_to(self, operator: OperatorContext, collection: str) -> None:
        """Undo a switch that came too late, when it was no longer its gateway's to do."""
        require_operator(operator, "switching generations")
        await self._point_to(collection)

    async def drop_older(self, operator: OperatorContext) -> None:
        """What a kill between a switch and its end left behind."""
        require_operator(operator, "dropping generations")
        async with self._connected() as connection:
            await self._drop(connection, await self._older(connection))

    async def has_older(self) -> bool:
        """Whether there is anything for `drop_older`."""
        async with self._connected() as connection:
            return bool(await self._older(connection))

    async def drop_others(self, operator: OperatorContext) -> None:
        require_operator(operator, "dropping generations")
        async with self._connected() as connection:
            await self._drop(connection, await self._others(connection))
        self._filling = None

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        require_operator(operator, "purging generations")
        async with self._connected() as connection:
            for name in [await self._current(connection), *await self._others(connection)]:
                await self._purge(operator, connection, name, tenant)

    async def _purge(
        self, operator: OperatorContext, connection: Connection, name: str, tenant: TenantId
    ) -> None:
        try:
            info = await connection.read(lambda: connection.client.get_collection(name))
            # An empty one may lack its indexes yet, without which the server deletes nothing.
            if info.points_count:
                shared = SharedCollection(connection, name, 0, Routing(self._placement), _NO_TERMS)
                await ServerVectorStore(shared).purge(operator, tenant)
        except StoreError:
            # Its re-embedding has ended meanwhile, and dropped it.
            if await self._there(connection, name):
                raise

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Connection, None]:
        connection = Connection.to(self._address)
        try:
            yield connection
        finally:
            await connection.close()

    async def _opened(self, name: str, made: MadeWith) -> ServerVectorStore:
        return await ServerVectorStore.open(
            self._address,
            made.dimension,
            collection=name,
            placement=self._placement,
            metadata=self._manifest(made),
            terms=made.terms,
        )

    def _manifest(self, made: MadeWith) -> dict[str, object]:
        return {_MANIFEST: {_OF: self._first, **asdict(made)}}

    async def _adopt(self, store: ServerVectorStore, made: MadeWith) -> None:
        """What was made before there were manifests says from now on what it was made with. A key
        that may only read and write points cannot do it; then its dimension alone is checked."""
        try:
            await store.note(self._manifest(made))
        except StoreError:
            return

    async def _point_to(self, name: str) -> None:
        """In one request, which the server does as one: the alias always names a collection."""
        alias = alias_of(self._first)
        away = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        create = models.CreateAlias(collection_name=name, alias_name=alias)
        changes: list[models.AliasOperations] = [
            away,
            models.CreateAliasOperation(create_alias=create),
        ]
        async with self._connected() as connection:
            await connection.write(
                lambda: connection.client.update_collection_aliases(changes, timeout=MANAGE_SECONDS)
            )

    async def _current(self, connection: Connection) -> str:
        return self.name or await self._aliased(connection)

    async def _aliased(self, connection: Connection) -> str:
        answer = await connection.read(connection.client.get_aliases)
        for one in answer.aliases:
            if one.alias_name == alias_of(self._first):
                return one.collection_name
        return self._first

    async def _others(self, connection: Connection) -> list[str]:
        """All generations but the one that answers, the oldest first."""
        answer = await connection.read(connection.client.get_collections)
        now = await self._current(connection)
        names = [
            one.name for one in answer.collections if self._number(one.name) and one.name != now
        ]
        ours = [name for name in names if await self._is_ours(connection, name)]
        return sorted(ours, key=self._number)

    async def _older(self, connection: Connection) -> list[str]:
        now = self._number(await self._current(connection))
        return [name for name in await self._others(connection) if self._number(name) < now]

    async def _is_ours(self, connection: Connection, name: str) -> bool:
        return name == self._first or await self._made_with(connection, name) is not None

    def _number(self, name: str) -> int:
        """Which generation that is; 0: none of ours."""
        if name == self._first:
            return 1
        found = re.fullmatch(rf"{re.escape(self._first)}-(\d{{4,}})", name)
        return int(found[1]) if found else 0

    async def _there(self, connection: Connection, name: str) -> bool:
        there: bool = await connection.read(lambda: connection.client.collection_exists(name))
        return there

    async def _made_with(self, connection: Connection, name: str) -> MadeWith | None:
        info = await connection.read(lambda: connection.client.get_collection(name))
        manifest = (info.config.metadata or {}).get(_MANIFEST)
        if not isinstance(manifest, dict) or manifest.get(_OF) != self._first:
            return None
        try:
            return MadeWith.read({key: manifest[key] for key in manifest if key != _OF})
        except (TypeError, ValueError):
            raise UnsafeCollectionError("Its manifest is not one of this version.") from None

    async def _carry_placement(self, operator: OperatorContext, store: ServerVectorStore) -> None:
        """Who has a shard of its own has one in the new generation, before a point is there."""
        async with self._connected() as connection:
            now = await self._current(connection)
            shared = SharedCollection(connection, now, 0, Routing(self._placement), _NO_TERMS)
            own = await ServerVectorStore(shared).placement.on_own_shards(operator)
        await store.placement.prepare(operator, own)

    async def _drop(self, connection: Connection, names: Sequence[str]) -> None:
        for name in names:
            await connection.manage(
                lambda name=name: connection.client.delete_collection(  # type: ignore[misc]
                    name, timeout=MANAGE_SECONDS
                )
            )
