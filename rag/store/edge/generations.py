"""Generations of Qdrant Edge: a folder each, and a file that names the one that answers.

vectors/current             "0002"
vectors/0002/manifest.json  what it was made with
vectors/0002/shard/         Qdrant Edge's own
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from isolation.context import OperatorContext, require_operator
from isolation.tenant_id import TenantId
from rag.errors import StoreError, UnsafeCollectionError
from rag.store.edge.store import EdgeVectorStore
from rag.store.generations import Generations, MadeWith, require_same_model

_ENGINE = "qdrant-edge-py"
_CURRENT, _MANIFEST, _SHARD, _FIRST = "current", "manifest.json", "shard", "0001"


class EdgeGenerations(Generations):
    """Below one folder, which one process owns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filling: str | None = None

    async def open(self, made: MadeWith) -> EdgeVectorStore:
        _adopt_plain_shard(self._folder, made)
        name = self._current()
        if name is None:
            self._make(_FIRST, made)
            self._point_to(_FIRST)
            name = _FIRST
        found = _checked(self._folder / name, made)
        # A kill came between the switch and their removal.
        self._drop([other for other in self._others() if other < name])
        return EdgeVectorStore.open(self._folder / name / _SHARD, made.dimension, found.terms)

    async def fill(
        self, operator: OperatorContext, made: MadeWith, *, resume: bool
    ) -> EdgeVectorStore:
        require_operator(operator, "filling a generation")
        left = [name for name in self._others() if resume and _reads(self._folder / name, made)]
        self._drop(set(self._others()) - set(left[-1:]))
        name = left[-1] if left else f"{int(self._current() or 0) + 1:04}"
        if not left:
            self._make(name, made)
        self._filling = name
        return EdgeVectorStore.open(self._folder / name / _SHARD, made.dimension, made.terms)

    async def switch(self, operator: OperatorContext) -> None:
        require_operator(operator, "switching generations")
        if self._filling is None:
            raise StoreError("No generation is being filled.")
        self._point_to(self._filling)
        self._filling = None

    async def drop_others(self, operator: OperatorContext) -> None:
        require_operator(operator, "dropping generations")
        self._drop(self._others())
        self._filling = None

    async def purge(self, operator: OperatorContext, tenant: TenantId) -> None:
        require_operator(operator, "dropping generations")
        self._drop(set(self._others()) - {self._filling})

    def _current(self) -> str | None:
        try:
            return (self._folder / _CURRENT).read_text().strip()
        except FileNotFoundError:
            return None

    def _others(self) -> list[str]:
        folders = sorted(path.name for path in self._folder.iterdir() if path.is_dir())
        return [name for name in folders if name != self._current()]

    def _drop(self, names: set[str] | list[str]) -> None:
        for name in names:
            shutil.rmtree(self._folder / name)

    def _make(self, name: str, made: MadeWith) -> None:
        """Its manifest comes last: a folder without one is nothing that anybody goes on with."""
        folder = self._folder / name
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        _write(folder / _MANIFEST, _manifest(made))

    def _point_to(self, name: str) -> None:
        _write(self._folder / _CURRENT, name + "\n")


def _adopt_plain_shard(folder: Path, made: MadeWith) -> None:
    """What was made before there were generations becomes the first one; a kill between goes on."""
    moving = folder.with_name(f"{folder.name}.adopting")
    if (folder / "edge_config.json").exists():
        moving.mkdir(mode=0o700, exist_ok=True)
        (moving / _FIRST).mkdir(mode=0o700, exist_ok=True)
        folder.rename(moving / _FIRST / _SHARD)
    if moving.exists() and not folder.exists():
        _write(moving / _FIRST / _MANIFEST, _manifest(made.with_shared_terms))
        _write(moving / _CURRENT, _FIRST + "\n")
        moving.rename(folder)
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)


def _manifest(made: MadeWith) -> str:
    return json.dumps({"engine": f"{_ENGINE} {version(_ENGINE)}", **asdict(made)}, indent=2) + "\n"


def _checked(folder: Path, made: MadeWith) -> MadeWith:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        engine, found = manifest.pop("engine"), MadeWith.read(manifest)
    except (OSError, ValueError, KeyError, TypeError):
        raise UnsafeCollectionError("The vectors' manifest is gone: restore the folder.") from None
    require_same_model(found, made)
    if engine != f"{_ENGINE} {version(_ENGINE)}":
        raise UnsafeCollectionError(
            f"The vectors were written by {engine}, and {version(_ENGINE)} is installed. Install "
            f"{engine.replace(' ', '==')} again, or export with it and ingest anew."
        )
    return found


def _reads(folder: Path, made: MadeWith) -> bool:
    try:
        return _checked(folder, made) == made
    except UnsafeCollectionError:
        return False


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and on the disk when this returns."""
    making = path.with_name(f".{path.name}")
    descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    making.replace(path)
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
