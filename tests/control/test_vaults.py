"""Documents' vaults: each tenant reads and deletes its own, where all else is the same."""

from __future__ import annotations

import pytest

from isolation.errors import BulkheadError, UnmintedContextError
from isolation.sealing import SealError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from rag.store.vaults import Place
from serving.control import vaults
from serving.control.database import Database
from serving.control.tenant_keys import TenantKeys
from serving.control.tenants import TenantRegistry
from serving.control.text_keys import VAULTS, TextKeys
from serving.control.vaults import SqlDocumentVaults
from serving.key_wrapping import KeyFile

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
# Two tenants, the same document, version and placeholder.
PLACE, OTHER = Place("returns", "v1", 0), Place("returns", "v2", 0)
OWN = {FJELLVIK: {"<PERSON_1>": "Ada Lind"}, VOLTBAY: {"<PERSON_1>": "Bo Berg"}}


@pytest.fixture
async def kept(database: Database) -> SqlDocumentVaults:
    registry = TenantRegistry(database)
    kept = SqlDocumentVaults(database, TextKeys(TenantKeys(database, KeyFile(b"m" * 32)), VAULTS))
    for ctx, values in OWN.items():
        await registry.add(OPERATOR, ctx.tenant_id, "business")
        await kept.of(ctx).put({PLACE: values, OTHER: values})
    return kept


async def _reads_its_own(kept: SqlDocumentVaults) -> bool:
    try:
        found = [await kept.of(ctx).get([PLACE, OTHER]) for ctx in OWN]
    except BulkheadError:
        return False
    return found == [{PLACE: values, OTHER: values} for values in OWN.values()]


async def test_each_reads_its_own(kept: SqlDocumentVaults) -> None:
    assert await _reads_its_own(kept)
    assert await kept.of(FJELLVIK).get([Place("returns", "v3", 0), Place("other", "v1", 0)]) == {}
    with pytest.raises(UnmintedContextError):
        kept.of("fjellvik")  # type: ignore[arg-type]


async def test_a_look_up_that_forgets_the_tenant_is_caught_by_the_seal(
    kept: SqlDocumentVaults, monkeypatch: pytest.MonkeyPatch
) -> None:

    def leaky(table: object, tenant: object, document_id: str | None = None) -> object:
        return vaults.DocumentVaultRow.document_id == "returns"

    monkeypatch.setattr(vaults, "of_document", leaky)
    assert not await _reads_its_own(kept)
    with pytest.raises(SealError):
        await kept.of(FJELLVIK).get([PLACE])


@pytest.mark.parametrize("how", ["delete", "keep", "settle", "purge"])
async def test_each_deletes_its_own(kept: SqlDocumentVaults, how: str) -> None:
    own = kept.of(FJELLVIK)
    if how == "delete":
        await own.delete("returns", None)
    elif how == "keep":
        await own.keep("returns", "v9", None)
    elif how == "settle":
        await kept.settle(OPERATOR, FJELLVIK.tenant_id, "returns", None, None)
    else:
        await kept.purge(OPERATOR, FJELLVIK.tenant_id)
    assert await own.get([PLACE, OTHER]) == {}
    assert await kept.of(VOLTBAY).get([PLACE]) == {PLACE: OWN[VOLTBAY]}


async def test_a_late_writer_deletes_what_it_replaced_and_nothing_that_came_after(
    kept: SqlDocumentVaults,
) -> None:
    own = kept.of(FJELLVIK)
    await own.keep("returns", "v0", {"v1"})
    assert set(await own.get([PLACE, OTHER])) == {OTHER}
    await own.delete("returns", {"v1"})
    assert set(await own.get([PLACE, OTHER])) == {OTHER}


async def test_writing_again_replaces(kept: SqlDocumentVaults) -> None:
    await kept.of(FJELLVIK).put({PLACE: {"<PERSON_1>": None}})
    assert (await kept.of(FJELLVIK).get([PLACE]))[PLACE] == {"<PERSON_1>": None}


async def test_only_the_operator_settles_and_purges(kept: SqlDocumentVaults) -> None:
    with pytest.raises(UnmintedContextError):
        await kept.purge(FJELLVIK, FJELLVIK.tenant_id)  # type: ignore[arg-type]
