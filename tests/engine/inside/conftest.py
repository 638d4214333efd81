"""One whole worker for the tests of its scheduler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from serving.cli.engine import worker_of
from serving.engine.launch import Lora, launch
from serving.settings import Settings
from tests.adapters.files import BASE, config, tensors, write
from tests.signing import signer_for_tests


@pytest.fixture(scope="session")
def whole_worker(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    # Hooks SGLang in this process: files that must not see that are another group.
    from tests.engine.inside.worker import Worker

    described = replace(worker_of(Settings(), tiny_model), lora=Lora(rank=16, batch=2, loaded=2))
    folder = tmp_path_factory.mktemp("worker")
    command = launch(described, folder, signer_for_tests().trust()).command
    key = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
    return Worker(Path(command.argv[-1]), key)


@pytest.fixture
def worker(whole_worker: Any) -> Any:
    """With nothing in it and nobody asking."""
    whole_worker.anew()
    return whole_worker


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter's folder; all seven modules, so that no tensor of it is zero."""
    modules = list(BASE.shapes)
    content = config(target_modules=modules)
    folder = tmp_path_factory.mktemp("adapter")
    return write(folder, content=content, weights=tensors(modules=modules)).folder
