"""Names in the engine: whose they are is known to gateways, and to nobody else."""

from __future__ import annotations

from serving.adapters.engine_names import EngineName, EngineNames
from serving.adapters.ports import ACTIVE, AdapterRecord
from tests.adapters.conftest import FJELLVIK

RECORD = AdapterRecord(FJELLVIK.tenant_id, "support", 1, "u" * 32, ACTIVE, "f", b"m", b"s", b"k")
ONE, TWO = EngineNames(b"n" * 32, "one"), EngineNames(b"n" * 32, "two")


def test_a_gateway_knows_its_own_and_each_of_the_others() -> None:
    name = ONE.new(RECORD)
    assert [names.is_of("one", name) for names in (ONE, TWO)] == [True, True]
    assert [names.is_of("two", name) for names in (ONE, TWO)] == [False, False]
    assert not ONE.is_of("one", "somebodys")
    assert not ONE.is_of("one", "ünïcode" * 10)


def test_who_has_not_the_key_neither_makes_nor_recognises_a_mark() -> None:
    stranger = EngineNames(b"x" * 32, "one")
    assert not ONE.is_of("one", stranger.new(RECORD))
    assert not stranger.is_of("one", ONE.new(RECORD))


def test_a_mark_is_of_its_name_alone() -> None:
    """So names of one gateway have nothing in common, and halves of two make no third."""
    first, second = ONE.new(RECORD), ONE.new(RECORD)
    assert first[:32] != second[:32]
    assert first[32:] != second[32:]
    assert not ONE.is_of("one", EngineName(first[:32] + second[32:]))
