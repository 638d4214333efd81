"""A real PostgreSQL of the tests' own: a throw-away cluster on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.databases import migrate

_WAIT_SECONDS = "60"


@dataclass(slots=True)
class Postgres:
    """A running cluster."""

    binaries: Path
    socket_folder: Path
    account: str
    _template: str = ""

    def fresh(self, name: str, *options: str) -> str:
        """SQLAlchemy's URL of a new, empty database of this name."""
        connect = ("-h", str(self.socket_folder), "-U", "bulkhead", *options)
        _run(self.account, [str(self.binaries / "createdb"), *connect, name])
        return f"postgresql+asyncpg://bulkhead@/{name}?host={self.socket_folder}"

    def migrated(self, name: str) -> str:
        """The same of the newest schema."""
        if not self._template:
            migrate(self.fresh("migrated"))
            self._template = "migrated"
        return self.fresh(name, "-T", self._template)


def binaries() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps `initdb` outside PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextmanager
def running(programs: Path) -> Generator[Postgres, None, None]:
    """A cluster, while the block runs."""
    account = _account()
    # Short: a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        shutil.chown(folder, account)
        data = folder / "data"
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", _WAIT_SECONDS]
        _run(account, [str(programs / "initdb"), "-D", str(data), "-U", "bulkhead", "-A", "trust"])
        # Its data is thrown away: nothing need survive a power cut.
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        _run(account, [*control, "-l", str(folder / "log"), "-o", options, "start"])
        try:
            yield Postgres(programs, folder, account)
        finally:
            _run(account, [*control, "-m", "immediate", "stop"])


def _account() -> str:
    """Who runs it: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid()).pw_name
    return "postgres"


def _run(account: str, command: list[str]) -> None:
    as_whom = {} if os.getuid() != 0 else {"user": account, "group": account, "extra_groups": []}
    # Its output is for a person; the server would hold a pipe open for good.
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **as_whom)
