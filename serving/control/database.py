"""The database: SQLite in WAL mode by default, or PostgreSQL. Schema changes go through Alembic
alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, func, make_url, select, text
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)

# Any number that nobody else of this database's users takes.
_MIGRATION_LOCK = 0x62756C6B
_MIGRATIONS = Path(__file__).with_name("migrations")


class Database:
    """A migrated database. Open it; the constructor is for `open` alone."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect and migrate to the newest schema. `url` is SQLAlchemy's, with an async driver."""
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            _make_private(Path(parsed.database))
        engine = create_async_engine(parsed)
        if parsed.get_backend_name() == "sqlite":
            event.listen(engine.sync_engine, "connect", _pragmas)
        async with engine.begin() as connection:
            await connection.run_sync(_migrate)
        return cls(engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession, None]:
        """A session whose work is committed, durably, when the block ends without an error."""
        async with AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def looking(self) -> AsyncGenerator[AsyncConnection, None]:
        """A connection for what each request looks up: columns and no objects."""
        async with self._engine.connect() as connection:
            yield connection

    async def forget_deleted(self) -> None:
        """Empty SQLite's write-ahead log, where pages are as they were before a deletion."""
        if self._engine.dialect.name == "sqlite":
            async with self._engine.connect() as connection:
                await connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def utc_now() -> datetime:
    """Now, as the tables keep it: UTC without a zone, which every backend stores alike."""
    return datetime.now(UTC).replace(tzinfo=None)


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)


def _pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    # FULL: an acknowledged commit survives not only kill -9 but a power cut.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=30000",
        "foreign_keys=ON",
        # What was deleted is overwritten, not only unlinked.
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Several gateways may start at once: one migrates, the others wait and find it done.
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
