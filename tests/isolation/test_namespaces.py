"""Namespaces separate tenants and everything that changes what a KV entry means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation.namespaces import CacheScope, NamespaceDeriver
from isolation.testing.contexts import tenant_for_tests

SCOPE = CacheScope(model="m", tokenizer="t", adapter="", version="1")
DERIVER = NamespaceDeriver(b"k" * 32)
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


def test_a_namespace_is_stable_and_differs_between_tenants() -> None:
    assert DERIVER.derive(FJELLVIK, SCOPE) == DERIVER.derive(FJELLVIK, SCOPE)
    assert DERIVER.derive(FJELLVIK, SCOPE) != DERIVER.derive(VOLTBAY, SCOPE)


@pytest.mark.parametrize("part", ["model", "tokenizer", "adapter", "version"])
def test_every_part_of_the_scope_counts(part: str) -> None:
    assert DERIVER.derive(FJELLVIK, SCOPE) != DERIVER.derive(
        FJELLVIK, replace(SCOPE, **{part: "x"})
    )


@given(st.text(), st.text(), st.text(), st.text())
def test_parts_never_run_together(a: str, b: str, c: str, d: str) -> None:
    first = DERIVER.derive(FJELLVIK, CacheScope(a, b, "", ""))
    second = DERIVER.derive(FJELLVIK, CacheScope(c, d, "", ""))
    assert (first == second) == ((a, b) == (c, d))


def test_the_namespace_tells_nothing_of_the_tenant_without_the_key() -> None:
    other = NamespaceDeriver(b"o" * 32)
    assert other.derive(FJELLVIK, SCOPE) != DERIVER.derive(FJELLVIK, SCOPE)
    assert "fjellvik" not in DERIVER.derive(FJELLVIK, SCOPE)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        NamespaceDeriver(b"short")
