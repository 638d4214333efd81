"""The store contract: documents of groups inside one tenant."""

from __future__ import annotations

import pytest

from isolation.access import restricted_to
from isolation.context import TenantContext
from isolation.testing.contexts import tenant_for_tests
from rag.store.port import VectorStore
from rag.testing.merchants import FJELLVIK, RANKED, found, listed, plant_ranked, put

# Near-identical but for the groups: whatever is relevant to one key is relevant to the other.
GROUPED = {
    "public": frozenset[str](),
    "vip": frozenset({"vip"}),
    "staff": frozenset({"staff", "board"}),
}
SEEN_BY = {
    ("vip",): {"public", "vip"},
    ("staff",): {"public", "staff"},
    ("board", "vip"): {"public", "vip", "staff"},
    ("nobody-s",): {"public"},
    (): {"public"},
}


def key_of(*groups: str, tenant: str = "fjellvik") -> TenantContext:
    """A credential that is restricted to these groups."""
    return tenant_for_tests(tenant, access=restricted_to(groups))


async def plant_grouped(store: VectorStore) -> None:
    """One document for each set of groups."""
    for name, groups in GROUPED.items():
        text = f"Returns are accepted, says the {name} document."
        await put(store, FJELLVIK, name, text, groups=groups)


async def seen(store: VectorStore, ctx: TenantContext) -> list[set[str]]:
    """What each way of reading shows: search, get, list, read."""
    hits = await found(store, ctx)
    assert await store.of(ctx).count() == len(hits)
    read = {name for name in GROUPED if await store.of(ctx).get(name)}
    chunks = {name for name in GROUPED if await store.of(ctx).chunks(name, "v1", range(1))}
    return [{hit.document_id for hit in hits}, read, set(await listed(store, ctx)), chunks]


class GroupAccessContract:
    """Who sees which documents of its own tenant. The subclass has the fixture `store`."""

    @pytest.mark.parametrize("groups", SEEN_BY)
    async def test_a_key_sees_its_groups_documents_and_no_others(
        self, store: VectorStore, groups: tuple[str, ...]
    ) -> None:
        await plant_grouped(store)
        assert await seen(store, key_of(*groups)) == [SEEN_BY[groups]] * 4

    async def test_an_unrestricted_key_sees_everything(self, store: VectorStore) -> None:
        await plant_grouped(store)
        assert await seen(store, FJELLVIK) == [set(GROUPED)] * 4

    async def test_another_tenants_group_of_the_same_name_opens_nothing(
        self, store: VectorStore
    ) -> None:
        await plant_grouped(store)
        assert await seen(store, key_of("vip", tenant="voltbay")) == [set()] * 4

    async def test_hidden_documents_move_no_score_and_no_rank(self, store: VectorStore) -> None:
        await plant_ranked(store)
        before = await store.of(key_of()).search(RANKED, limit=5)
        assert len(before) == 3
        await put(store, FJELLVIK, "hidden", *["boots"] * 40, groups=frozenset({"vip"}))
        assert await store.of(key_of()).search(RANKED, limit=5) == before
