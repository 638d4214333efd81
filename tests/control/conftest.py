"""The same tests on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from serving.control.database import Database
from tests.databases import put_migrated, url_of
from tests.postgres import Postgres, binaries, running

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed here: apt-get install postgresql")
    with running(programs) as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        path = tmp_path / "data" / "bulkhead.db"
        put_migrated(path)
        return url_of(path)
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.migrated(f"test_{next(_numbers)}")


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database, None]:
    database = await Database.open(database_url)
    yield database
    await database.close()
