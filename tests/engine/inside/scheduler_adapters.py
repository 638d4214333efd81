"""An adapter's copies in the host's memory, as SGLang's own manager loaded and unloaded them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.engine_plugin.lora_scrub import SCRUBS, host_tensors
from tests.engine.inside.worker import Tenant, Worker, torch

# What an adapter refers to and does not own.
_SHARED = ("base_model", "lora_backend", "base_hf_config", "load_config", "config")


def _reachable(thing: Any) -> Iterator[Any]:
    """Every tensor that an adapter's object leads to, whatever the plugin knows of it."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, torch.nn.Module):
        own = {name: value for name, value in vars(thing).items() if name not in _SHARED}
        yield from _reachable(own)
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from _reachable(value)
    elif isinstance(thing, list | tuple | set):
        for value in thing:
            yield from _reachable(value)


def _unloaded(worker: Worker, folder: Path) -> list[Any]:
    """What a test kept hold of, of an adapter that was loaded, used and unloaded."""
    adapter = worker.load("adapter", folder)
    worker.answered(Tenant("tenant", adapter="adapter"), 20, new=2)
    tensors = list(_reachable(adapter))
    # A and B, of four stacked modules in each of two layers; pinned or not.
    assert len({tensor.data_ptr() for tensor in tensors}) >= 16
    assert all(tensor.any() for tensor in tensors)
    known = {tensor.data_ptr() for tensor in host_tensors(adapter)}
    assert {tensor.data_ptr() for tensor in tensors} == known
    worker.unload("adapter")
    return tensors


def test_an_unloaded_adapters_copies_in_the_host_hold_zeros(worker: Worker, adapter: Path) -> None:
    assert not any(tensor.any() for tensor in _unloaded(worker, adapter))


def test_without_scrubbing_they_hold_its_weights(
    worker: Worker, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCRUBS, "off")
    assert all(tensor.any() for tensor in _unloaded(worker, adapter))


@pytest.mark.parametrize("switch", ["on", "off"])
def test_no_buffer_of_the_engine_holds_an_adapter_that_was_unloaded(
    worker: Worker, adapter: Path, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    """SGLang clears the slot itself: so it is empty with scrubbing off, too."""
    monkeypatch.setenv(SCRUBS, switch)
    pool = worker.lora_manager.memory_pool
    buffers = [
        tensor for layers in (*pool.A_buffer.values(), *pool.B_buffer.values()) for tensor in layers
    ]
    worker.load("adapter", adapter)
    worker.answered(Tenant("tenant", adapter="adapter"), 20, new=2)
    assert all(tensor.any() for tensor in buffers)  # the control
    worker.unload("adapter")
    assert not any(tensor.any() for tensor in buffers)
