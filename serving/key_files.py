"""The platform's own secrets: files of mode 0600 below the data folder, made at first use."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from serving.errors import StartupError
from serving.settings import Settings

_MINIMUM = 32


def admin_key(settings: Settings) -> str:
    """The operator's key: the setting, else the key file."""
    if settings.admin_key is not None:
        return _long_enough(settings.admin_key.get_secret_value(), "BULKHEAD_ADMIN_KEY")
    return _file(settings.data_dir / "keys" / "admin.key")


def derived_key(settings: Settings, purpose: str) -> bytes:
    """32 bytes for one purpose, from the master key (HKDF-SHA256, RFC 5869)."""
    if settings.master_key is not None:
        master = _long_enough(settings.master_key.get_secret_value(), "BULKHEAD_MASTER_KEY")
    else:
        master = _file(settings.data_dir / "keys" / "master.key")
    return _derived(master, purpose)


def previous_key(settings: Settings, purpose: str) -> bytes | None:
    """The same from the master key before the last rotation, while that is set."""
    if settings.previous_master_key is None:
        return None
    previous = settings.previous_master_key.get_secret_value()
    return _derived(_long_enough(previous, "BULKHEAD_PREVIOUS_MASTER_KEY"), purpose)


def gateway_id(settings: Settings) -> str:
    """32 hexadecimal digits that name the data folder's gateway, the same at every start."""
    return hashlib.sha256(_file(settings.data_dir / "keys" / "gateway.id").encode()).hexdigest()[
        :32
    ]


def write_private(path: Path, text: str) -> None:
    """Write a file that only the owner reads: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    making = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    making.replace(path)


def _derived(master: str, purpose: str) -> bytes:
    info = f"bulkhead {purpose}".encode()
    return HKDF(SHA256(), 32, salt=None, info=info).derive(master.encode())


def _file(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32) + "\n")
    if path.stat().st_mode & 0o077:
        raise StartupError(f"Others may read {path}. Run 'chmod 600 {path}'.")
    return _long_enough(path.read_text().strip(), str(path))


def _long_enough(key: str, where: str) -> str:
    if len(key) < _MINIMUM:
        raise StartupError(f"The key in {where} has fewer than {_MINIMUM} characters.")
    return key
