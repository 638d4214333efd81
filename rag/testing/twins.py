"""The store contract: stores that leak, each of which the contract must catch.

A twin is the engine under test with one thing broken, and without the last check on what the engine
returns: what catches it are the contract's own assertions.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol

import pytest

from isolation.errors import CrossTenantError
from isolation.tenant_id import TenantId
from rag.filters import Where
from rag.store import predicate
from rag.store.conditions import Every, TextIs
from rag.store.point_ids import point_id
from rag.store.port import HybridQuery, VectorStore
from rag.testing.boundary import HOSTILE_FILTERS, BoundaryContract
from rag.testing.filter_oracle import FilterContract, Oracle, plant_varied
from rag.testing.group_access import GroupAccessContract
from rag.testing.lifecycle import LifeCycleContract
from rag.testing.merchants import BOTH, FJELLVIK, VOLTBAY, plant, put, returns, texts
from rag.testing.post_filtered import PostFiltered

Place = Literal["dense", "sparse", "root", "corpus"]
CAUGHT = (AssertionError, CrossTenantError)
_PUBLISHED = TextIs(predicate.STATE, predicate.PUBLISHED)


class Breakable(Protocol):
    """How one engine is broken, where only its adapter knows where to."""

    def forget(self, *places: Place) -> None:
        """Leave the filter away in these places of a hybrid query: one of its two prefetches, the
        root, or the corpus of the sparse one's term statistics."""

    def share_ids(self, owner: TenantId) -> None:
        """Give every tenant's points the ids that `owner`'s would have."""


class TwinContract:
    """Leaky twins. The subclass has the fixtures `store` and `breakable`, and
    `oracle` of `FilterContract`."""

    # An engine with a second line of its own may add how that one refuses.
    caught: ClassVar[tuple[type[Exception], ...]] = CAUGHT

    @pytest.fixture
    def blind(self, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        """Without the last check on what the engine returns."""
        monkeypatch.setattr("rag.store.payload.require_same_tenant", lambda *_: None)
        return monkeypatch

    async def test_a_predicate_without_the_tenant_is_caught(
        self, store: VectorStore, blind: pytest.MonkeyPatch
    ) -> None:
        blind.setattr(predicate, "visible_to", lambda *_, **__: Every((_PUBLISHED,)))
        with pytest.raises(self.caught):
            await BoundaryContract().test_a_tenant_never_retrieves_anothers_chunk(store)

    async def test_what_the_engine_returns_is_checked_once_more(
        self, store: VectorStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same twin, not blind: its search and its listing raise, and return nothing."""
        await plant(store)
        monkeypatch.setattr(predicate, "visible_to", lambda *_, **__: Every((_PUBLISHED,)))
        for reading in (texts(store, FJELLVIK), store.of(FJELLVIK).list()):
            with pytest.raises(CrossTenantError):
                await reading

    async def test_writes_without_the_tenant_are_caught(
        self, store: VectorStore, blind: pytest.MonkeyPatch
    ) -> None:
        blind.setattr(
            predicate, "document_of", lambda _, name: Every((TextIs(predicate.DOCUMENT, name),))
        )
        with pytest.raises(self.caught):
            await BoundaryContract().test_ids_are_the_tenants_own(store)

    async def test_a_purge_without_the_tenant_is_caught(
        self, store: VectorStore, blind: pytest.MonkeyPatch
    ) -> None:
        blind.setattr(predicate, "everything_of", lambda _: Every((_PUBLISHED,)))
        contract = LifeCycleContract()
        with pytest.raises(self.caught):
            await contract.test_purging_leaves_nothing_of_a_tenant_and_all_of_the_other(store)

    async def test_a_predicate_that_shows_staged_versions_is_caught(
        self, store: VectorStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            predicate, "visible_to", lambda ctx, *_, **__: predicate.everything_of(ctx.tenant_id)
        )
        with pytest.raises(self.caught):
            await LifeCycleContract().test_a_staged_version_is_seen_by_no_read(store)

    async def test_a_predicate_that_forgets_the_groups_is_caught(
        self, store: VectorStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(predicate, "_access", lambda access: ())
        contract = GroupAccessContract()
        with pytest.raises(self.caught):
            await contract.test_a_key_sees_its_groups_documents_and_no_others(store, ("vip",))

    async def test_a_filter_after_the_search_is_caught(
        self, store: VectorStore, blind: pytest.MonkeyPatch
    ) -> None:
        blind.setattr(predicate, "visible_to", lambda *_, **__: Every((_PUBLISHED,)))
        twin = PostFiltered(store)
        contract = BoundaryContract()
        with pytest.raises(self.caught):
            await contract.test_a_small_tenant_beside_a_large_one_finds_all_of_its_own(twin)

    async def test_a_filter_that_replaces_the_predicate_is_caught(
        self, store: VectorStore, oracle: Oracle, blind: pytest.MonkeyPatch
    ) -> None:
        """LlamaIndex's own store lets a caller's filter stand in for the tenant's."""
        honest = predicate.visible_to

        def replaced(ctx: Any, document_id: Any = None, where: Where | None = None) -> Every:
            if where is None:
                return honest(ctx, document_id)
            return Every((predicate._compiled(where),))

        blind.setattr(predicate, "visible_to", replaced)
        contract = BoundaryContract()
        with pytest.raises(self.caught):
            await contract.test_no_filter_reaches_beyond_the_tenants_published_points(
                store, HOSTILE_FILTERS[0]
            )
        await plant_varied(store, oracle)
        with pytest.raises(AssertionError):
            await FilterContract().ids(store, BOTH[0], HOSTILE_FILTERS[0])

    @pytest.mark.parametrize(
        "places", [("dense", "root"), ("sparse", "root"), ("dense", "sparse", "root")], ids="+".join
    )
    async def test_a_query_with_a_forgotten_filter_is_caught(
        self,
        store: VectorStore,
        breakable: Breakable,
        blind: pytest.MonkeyPatch,
        places: tuple[Place, ...],
    ) -> None:
        """Qdrant applies the root's filter to the prefetches too, so one alone does not leak: each
        adapter's own tests look at the query itself for that."""
        _share_terms(blind)
        breakable.forget(*places)
        with pytest.raises(self.caught):
            await BoundaryContract().test_a_tenant_never_retrieves_anothers_chunk(store)

    async def test_without_any_filter_no_word_finds_anothers_chunk(
        self, store: VectorStore, breakable: Breakable, blind: pytest.MonkeyPatch
    ) -> None:
        """The second line behind the predicate: the terms are the tenant's own."""
        await plant(store)
        breakable.forget("sparse", "root")
        for ctx in BOTH:
            found = await store.of(ctx).search(HybridQuery(returns(ctx), []), limit=50)
            assert {passage.tenant_id for passage in found} == {ctx.tenant_id}

    async def test_words_that_are_shared_are_caught_where_no_filter_is(
        self, store: VectorStore, breakable: Breakable, blind: pytest.MonkeyPatch
    ) -> None:
        _share_terms(blind)
        with pytest.raises(AssertionError):
            await self.test_without_any_filter_no_word_finds_anothers_chunk(store, breakable, blind)

    async def test_term_statistics_of_everybody_are_caught(
        self, store: VectorStore, breakable: Breakable
    ) -> None:
        breakable.forget("corpus")
        with pytest.raises(self.caught):
            await BoundaryContract().test_foreign_documents_move_no_score_and_no_rank(store)

    async def test_a_write_under_anothers_point_id_changes_nothing_and_is_told(
        self, store: VectorStore, breakable: Breakable
    ) -> None:
        """The second line behind ids that no other tenant can name."""
        await put(store, VOLTBAY, "returns", returns(VOLTBAY))
        breakable.share_ids(VOLTBAY.tenant_id)
        with pytest.raises(CrossTenantError):
            await put(store, FJELLVIK, "returns", "Mine now")
        assert await texts(store, VOLTBAY) == [returns(VOLTBAY)]
        assert await texts(store, FJELLVIK) == []

    async def test_shared_ids_without_the_condition_on_writes_are_caught(
        self, store: VectorStore, breakable: Breakable, blind: pytest.MonkeyPatch
    ) -> None:
        breakable.share_ids(VOLTBAY.tenant_id)
        blind.setattr(predicate, "everything_of", lambda _: Every(()))
        with pytest.raises(self.caught):
            await BoundaryContract().test_ids_are_the_tenants_own(store)


def _share_terms(patch: pytest.MonkeyPatch) -> None:
    """Give a word the same dimension for every tenant."""
    patch.setattr("rag.store.terms._own", lambda _, indices: indices)


def ids_of(owner: TenantId) -> Any:
    """`point_id`, but of `owner` for whoever asks."""
    return lambda _, *parts: point_id(owner, *parts)
