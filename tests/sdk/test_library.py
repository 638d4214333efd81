"""The library in one process: a credential opens its tenant's documents, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isolation.errors import InvalidCredentialError, RestrictedKeyError
from rag.background import LibraryClosedError
from rag.errors import DocumentNotFoundError
from serving.embedded.library import Library
from serving.errors import StartupError
from tests.sdk.platforms import FACTS, NAMES, QUESTION, Sessions, library


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Library[str]]:
    with library(tmp_path) as opened:
        for name in NAMES:
            bound = opened.authenticate(f"session-of-{name}")
            bound.put("returns", f"Returns within {FACTS[name]}.", metadata={"lang": "en"})
        yield opened


async def test_each_credential_opens_its_own_tenant_only(opened: Library[str]) -> None:
    for name, other in zip(NAMES, reversed(NAMES), strict=True):
        for bound in (
            opened.authenticate(f"session-of-{name}"),
            await opened.aauthenticate(f"session-of-{name}"),
        ):
            for found in (bound.search(QUESTION), await bound.asearch(QUESTION)):
                assert FACTS[name] in str(found)
                assert FACTS[other] not in str(found)
            assert [one.document_id for one in bound.documents()] == ["returns"]


async def test_the_same_id_in_two_tenants_is_two_documents(opened: Library[str]) -> None:
    acme, birch = (opened.authenticate(f"session-of-{name}") for name in NAMES)
    await birch.aput("returns", "Returns within 7 days.")
    assert FACTS["acme"] in str(acme.search(QUESTION))
    await birch.adelete("returns")
    assert await birch.adocuments() == []
    with pytest.raises(DocumentNotFoundError):
        birch.delete("returns")
    assert FACTS["acme"] in str(acme.search(QUESTION))


def test_a_stranger_opens_nothing(opened: Library[str]) -> None:
    for credential in ("", "acme", "session-of-nobody"):
        with pytest.raises(InvalidCredentialError):
            opened.authenticate(credential)


def test_a_restricted_credential_reads_what_its_groups_may(opened: Library[str]) -> None:
    owner, guest = (opened.authenticate(f"session-of-{who}") for who in ("acme", "a-guest"))
    owner.put("wages", "The wages are canary-wages.", groups=["staff"])
    owner.put("fair", "The fair is canary-fair.", groups=["public"])
    assert "canary-wages" in str(owner.search("wages", limit=50))
    seen = str(guest.search("wages and fair", limit=50)) + str(guest.documents())
    assert "canary-fair" in seen
    assert "wages" not in seen
    with pytest.raises(RestrictedKeyError):
        guest.put("x", "x")


def test_many_threads_and_loops_share_it(opened: Library[str]) -> None:
    def work(number: int) -> str:
        name = NAMES[number % 2]
        bound = opened.authenticate(f"session-of-{name}")
        bound.put(f"note-{number}", f"Note {number} of {name}: {FACTS[name]}.")
        found = asyncio.run(bound.asearch(QUESTION, limit=50))
        assert FACTS[NAMES[1 - number % 2]] not in str(found)
        return name

    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(work, range(24)))) == 24
    for name in NAMES:
        assert len(opened.authenticate(f"session-of-{name}").documents()) == 13


def test_documents_are_there_after_a_restart_and_one_process_owns_them(tmp_path: Path) -> None:
    with library(tmp_path) as first:
        bound = first.authenticate("session-of-acme")
        bound.put("returns", "Returns within 30 days.")
        with pytest.raises(StartupError):
            Library(tmp_path / "library", Sessions())
    with pytest.raises(LibraryClosedError):
        bound.search(QUESTION)
    first.close()
    with library(tmp_path) as second:
        assert "30 days" in str(second.authenticate("session-of-acme").search(QUESTION))
