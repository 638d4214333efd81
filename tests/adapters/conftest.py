"""A registry over a real database and a real store: a folder, or a server that speaks S3."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isolation.context import TenantContext
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.adapters.checks import AdapterLimits, Upload
from serving.adapters.manifest import ManifestSigner
from serving.adapters.objects import AdapterObjects
from serving.adapters.ports import AdapterRecord
from serving.adapters.registry import AdapterRegistry
from serving.adapters.registry_parts import RegistryParts
from serving.adapters.sealed_files import SealedFiles
from serving.control.adapters import SqlAdapterIndex
from serving.control.database import Database
from serving.control.tenant_keys import TenantKeys
from serving.control.tenants import TenantRegistry
from serving.key_wrapping import KeyFile
from tests.adapters.files import BASE, write
from tests.databases import fresh_database

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
LIMITS = AdapterLimits(rank=16, bytes=2_000_000, versions=5)
_numbers = itertools.count()


@dataclass
class Shop:
    """The registry, and what it is made of."""

    database: Database
    url: str
    folder: Path
    keys: TenantKeys
    registry: AdapterRegistry
    parts: RegistryParts

    def upload(self, name: str = "support", seed: int = 0) -> Upload:
        return write(self.folder / f"upload-{next(_numbers)}", name, seed=seed)

    async def add(self, ctx: TenantContext, name: str = "support", seed: int = 0) -> AdapterRecord:
        return await self.registry.of(ctx).add(self.upload(name, seed))

    def placed(self) -> Path:
        folder = self.folder / f"placed-{next(_numbers)}"
        folder.mkdir()
        return folder


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of moto's server, a process of its own; botocore finds it by its environment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    server = subprocess.Popen(command, stdout=log, stderr=log)
    endpoint = f"http://127.0.0.1:{port}"
    named = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in named.items():
            patched.setenv(name, value)
        _until_answering(endpoint)
        request = urllib.request.Request(f"{endpoint}/adapters", method="PUT")
        urllib.request.urlopen(request).close()
        yield "s3://adapters"
    server.terminate()
    server.wait()
    log.close()


def _until_answering(endpoint: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(endpoint).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("moto's server does not answer")


@pytest.fixture(params=["folder", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    return f"{request.getfixturevalue('s3_url')}/{os.urandom(4).hex()}"


@pytest.fixture
async def shop(store_url: str, tmp_path: Path) -> AsyncGenerator[Shop, None]:
    database = await fresh_database(tmp_path / "data/bulkhead.db")
    for ctx in (FJELLVIK, VOLTBAY):
        await TenantRegistry(database).add(OPERATOR, ctx.tenant_id, "business")
    yield make_shop(database, store_url, tmp_path)
    await database.close()


def make_shop(database: Database, url: str, folder: Path) -> Shop:
    keys = TenantKeys(database, KeyFile(b"m" * 32))
    parts = RegistryParts(
        index=SqlAdapterIndex(database),
        files=SealedFiles(AdapterObjects.open(url)),
        keys=keys,
        signer=ManifestSigner(b"s" * 32),
        base=lambda: BASE,
        limits=LIMITS,
    )
    return Shop(database, url, folder, keys, AdapterRegistry(parts), parts)
