"""Registries with something broken: each is caught by one of the attacks on the honest one.

Seal, binding and checksum back each other up, so that two of them must be gone before an attack
gets through; that one alone holds is shown too.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import BinaryIO
from unittest.mock import ANY

import pytest

from serving.adapters import sealed_files, tenant_adapters
from serving.adapters.manifest import ManifestSigner, decoded
from tests.adapters import test_registry as attacks
from tests.adapters.conftest import Shop

Broken = Callable[[pytest.MonkeyPatch], None]
Attack = Callable[[Shop], Awaitable[None]]


def _unsigned(patched: pytest.MonkeyPatch) -> None:
    """Whoever writes the database says what a version is."""
    patched.setattr(ManifestSigner, "believed", lambda signer, encoded, _: decoded(encoded))


def _unbound(patched: pytest.MonkeyPatch) -> None:
    """A seal is good for any tenant, name, version and file."""
    for module in (sealed_files, tenant_adapters):
        patched.setattr(module, "bound", lambda manifest, what: b"")


def _uncompared(patched: pytest.MonkeyPatch) -> None:
    """What comes out is not held against the manifest's checksums."""

    def whatever(path: Path) -> object:
        return ANY

    patched.setattr(sealed_files, "file_entry", whatever)


def _unsealed(patched: pytest.MonkeyPatch) -> None:
    """The store holds what was uploaded."""

    def copied(source: BinaryIO, sink: BinaryIO, key: bytes, context: bytes) -> None:
        shutil.copyfileobj(source, sink)

    for name in ("seal", "unseal"):
        patched.setattr(sealed_files, name, copied)


_ROW = attacks.test_a_row_that_was_changed_in_the_database_is_not_loaded
_FILE = attacks.test_a_changed_moved_cut_or_missing_file_is_not_loaded
_OLDER = attacks.test_an_older_versions_files_are_not_loaded_as_the_newer_one
_STORE = attacks.test_the_store_alone_gives_nothing_away


@pytest.mark.parametrize(
    ("broken", "attack"),
    [
        ([_unsigned], _ROW),
        ([_unbound, _uncompared], _FILE),
        ([_unbound, _uncompared], _OLDER),
        ([_unsealed], _STORE),
        ([_unsealed, _uncompared], _FILE),
    ],
)
async def test_a_broken_registry_is_caught(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, broken: Sequence[Broken], attack: Attack
) -> None:
    for one in broken:
        one(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await attack(shop)


@pytest.mark.parametrize("broken", [_unbound, _uncompared])
@pytest.mark.parametrize("attack", [_FILE, _OLDER])
async def test_one_of_binding_and_checksum_is_enough(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, broken: Broken, attack: Attack
) -> None:
    broken(monkeypatch)
    await attack(shop)
