"""An adapter's copies in host memory, on SGLang's own layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

import torch  # isort: skip
from sglang.srt.lora.lora import LoRALayer  # isort: skip

from serving.engine_plugin import lora_scrub

assert kv_pool


def _adapter() -> Any:
    layer = LoRALayer(None, None)
    layer.weights["q_proj.lora_A.weight"] = torch.ones(4, 8)
    layer.pinned_weights["q_proj.lora_A.weight"] = torch.ones(4, 8)
    names = ("embedding_layers", "added_tokens_embeddings")
    others = {f"{p}{n}": {"lm_head": torch.ones(2, 8)} for p in ("", "pinned_") for n in names}
    return SimpleNamespace(layers=[layer], **others)


def _unloaded(monkeypatch: pytest.MonkeyPatch, switch: str) -> list[Any]:
    """The adapter's tensors after it was unloaded; somebody still refers to them."""
    monkeypatch.setenv(lora_scrub.SCRUBS, switch)
    adapter = _adapter()
    manager = SimpleNamespace(loras={"id": adapter})
    lora_scrub._unload(
        lambda manager, ref: manager.loras.pop(ref.lora_id),
        manager,
        SimpleNamespace(lora_id="id"),
    )
    tensors = list(lora_scrub.host_tensors(adapter))
    assert len(tensors) == 6
    return tensors


def test_an_unloaded_adapters_copies_hold_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(tensor.any() for tensor in _unloaded(monkeypatch, "on"))


def test_without_scrubbing_they_hold_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(tensor.all() for tensor in _unloaded(monkeypatch, "off"))


def test_all_that_an_adapter_keeps_is_known() -> None:
    """SGLang's adapter has no dictionary of tensors that is not zeroed."""
    from sglang.srt.lora import lora

    with open(lora.__file__) as file:
        source = file.read()
    found = {
        line.split(":")[0].strip().removeprefix("self.")
        for line in source.splitlines()
        if ": Dict[str, torch.Tensor] = {}" in line
    }
    assert found == {
        *("weights", "pinned_weights", "embedding_layers", "pinned_embedding_layers"),
        *("added_tokens_embeddings", "pinned_added_tokens_embeddings"),
    }
