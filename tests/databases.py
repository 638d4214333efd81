"""Databases that are migrated already: copies of one, where migrating is not the test."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from serving.control.database import Database


def url_of(path: Path) -> str:
    """SQLAlchemy's, of a database in SQLite."""
    return f"sqlite+aiosqlite:///{path}"


def put_migrated(path: Path) -> None:
    """A new database, empty and of the newest schema."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(_migrated())


async def fresh_database(path: Path) -> Database:
    """The same, opened."""
    put_migrated(path)
    return await Database.open(url_of(path))


def migrate(url: str) -> None:
    """As a gateway's start does; from where a loop may be running."""

    async def run() -> None:
        await (await Database.open(url)).close()

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, run()).result()


@functools.cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bulkhead.db"
        migrate(url_of(path))
        return path.read_bytes()
