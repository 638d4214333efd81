"""What the operator shares is kept, with who did what; nobody else keeps or reads it there."""

from __future__ import annotations

import pytest

from isolation.errors import UnmintedContextError
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.control.database import Database
from serving.control.errors import PublicPrefixNotFoundError, TooManyPublicPrefixesError
from serving.control.public_prefixes import MOST_PREFIXES, PublicPrefixRecords, SharedText

OPERATOR = operator_for_tests()
FIRST = SharedText("Be kind.", ({"b": 1, "a": {"z": 1, "y": 2}},))
SECOND = SharedText("Be short.")


@pytest.fixture
def records(database: Database) -> PublicPrefixRecords:
    return PublicPrefixRecords(database)


async def test_a_prefix_is_kept_as_it_was_given_until_it_is_withdrawn(
    records: PublicPrefixRecords, database: Database
) -> None:
    assert await records.list(OPERATOR) == []
    await records.put(OPERATOR, "tone", FIRST)
    (kept,) = await PublicPrefixRecords(database).list(OPERATOR)
    assert (kept.name, kept.text) == ("tone", FIRST)
    # In another order, the tools would be another prompt.
    assert list(kept.text.tools[0]) == ["b", "a"]
    assert list(kept.text.tools[0]["a"]) == ["z", "y"]
    await records.put(OPERATOR, "tone", SECOND)
    assert (await records.get(OPERATOR, "tone")).text == SECOND
    await records.remove(OPERATOR, "tone")
    assert await records.list(OPERATOR) == []
    with pytest.raises(PublicPrefixNotFoundError):
        await records.get(OPERATOR, "tone")
    with pytest.raises(PublicPrefixNotFoundError):
        await records.remove(OPERATOR, "tone")


async def test_each_change_has_its_line_in_the_trail_which_holds_no_text(
    records: PublicPrefixRecords,
) -> None:
    await records.put(OPERATOR, "tone", FIRST)
    await records.put(OPERATOR, "other", SECOND)
    await records.put(OPERATOR, "tone", SECOND)
    await records.remove(OPERATOR, "tone")
    steps = await records.steps(OPERATOR, "tone")
    assert [(step.action, step.digest) for step in steps] == [
        ("published", FIRST.digest),
        ("published", SECOND.digest),
        ("withdrawn", SECOND.digest),
    ]
    assert {step.who for step in steps} == {OPERATOR.operator}
    assert "Be " not in str(steps)


async def test_only_so_many_are_kept(records: PublicPrefixRecords) -> None:
    for number in range(MOST_PREFIXES):
        await records.put(OPERATOR, f"p{number}", FIRST)
    await records.put(OPERATOR, "p0", SECOND)  # in the place of another
    with pytest.raises(TooManyPublicPrefixesError):
        await records.put(OPERATOR, "more", FIRST)
    assert await records.steps(OPERATOR, "more") == []


async def test_only_the_operator_shares(records: PublicPrefixRecords) -> None:
    tenant = tenant_for_tests("fjellvik")
    for work in (
        records.put(tenant, "tone", FIRST),  # type: ignore[arg-type]
        records.remove(tenant, "tone"),  # type: ignore[arg-type]
        records.get(tenant, "tone"),  # type: ignore[arg-type]
        records.list(tenant),  # type: ignore[arg-type]
        records.steps(tenant, "tone"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UnmintedContextError):
            await work
