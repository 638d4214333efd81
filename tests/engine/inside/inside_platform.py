"""The CPU is SGLang's platform, by its public entry point, and nothing is patched for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

import torch  # isort: skip
from sglang.srt import platforms  # isort: skip

from serving.engine_plugin import cpu, cpu_linear, cpu_registry

assert kv_pool
DEVICE = "BULKHEAD_ENGINE_DEVICE"


def test_sglang_chose_our_platform() -> None:
    chosen = platforms.current_platform
    assert type(chosen).__module__ == "serving.engine_plugin.cpu_platform"
    assert chosen.is_out_of_tree()
    assert not chosen.is_cuda_alike()
    assert not chosen.is_pin_memory_available()
    assert chosen.get_device() == torch.device("cpu")
    assert chosen.get_default_attention_backend() == "torch_native"


def test_it_says_of_this_machine_what_sglang_says_of_a_cpu() -> None:
    from sglang.srt.utils.common import get_cpu_memory_capacity, get_device_memory_capacity

    assert get_device_memory_capacity("cpu") == get_cpu_memory_capacity() > 0


def test_where_the_platform_is_not_installed_sglang_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platforms, "entry_points", lambda group: ())
    with pytest.raises(RuntimeError, match="not found"):
        platforms._resolve_platform()


@pytest.mark.parametrize("device", ["cuda", None])
def test_an_engine_that_was_not_put_on_the_cpu_has_sglangs_platform(
    monkeypatch: pytest.MonkeyPatch, device: str | None
) -> None:
    monkeypatch.delenv("SGLANG_PLATFORM")
    assert platforms._resolve_platform().is_out_of_tree()
    monkeypatch.delenv(DEVICE)
    if device:
        monkeypatch.setenv(DEVICE, device)
    assert not platforms._resolve_platform().is_out_of_tree()


def test_where_pytorch_sees_a_card_it_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu.activate()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert cpu.activate() is None
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(platforms, "_is_sail_available", lambda: False)  # it asks for a card's name
    monkeypatch.delenv("SGLANG_PLATFORM")
    assert platforms._resolve_platform().is_cuda()


def test_rotary_embeddings_are_pytorchs_without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    from sglang.kernels.fused_op import _oot_dispatch_key
    from sglang.srt.layers.rotary_embedding import base

    def made() -> Any:
        return base.RotaryEmbedding(16, 16, 32, 10_000, True, torch.float32)

    assert not made().use_fallback_kernel
    assert _oot_dispatch_key() == "native"
    # The control: on a device that SGLang does not know, it imports vLLM's kernels.
    monkeypatch.setattr(base, "current_platform", platforms.SRTPlatform())
    with pytest.raises(ModuleNotFoundError, match="vllm"):
        made()


def test_pinned_memory_is_ordinary_where_adapters_ask_for_it() -> None:
    with pytest.raises(RuntimeError):
        torch.full((2,), 1.0, pin_memory=True)  # the control: this PyTorch has none
    platforms.current_platform.init_backend()
    platforms.current_platform.init_backend()
    assert torch.tensor([1, 2], pin_memory=True).tolist() == [1, 2]
    assert torch.zeros(2, pin_memory=True).pin_memory().tolist() == [0, 0]


def test_our_backends_stand_in_sglangs_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    from sglang.srt.layers.attention.attention_registry import ATTENTION_BACKENDS
    from sglang.srt.lora.backend.lora_registry import (
        LORA_SUPPORTED_BACKENDS,
        get_backend_from_name,
    )

    for registry in (ATTENTION_BACKENDS, LORA_SUPPORTED_BACKENDS):
        monkeypatch.setitem(registry, "torch_native", registry["torch_native"])
    monkeypatch.setenv(cpu.KERNELS, "stock")
    cpu_registry.register()
    assert get_backend_from_name("torch_native").__name__ == "TorchNativeLoRABackend"
    monkeypatch.setenv(cpu.KERNELS, "float32")
    cpu_registry.register()
    backend = get_backend_from_name("torch_native")
    assert backend.__name__ == "CpuLora"
    assert backend.skip_inactive_lora_batches
    runner = SimpleNamespace(device="cpu", req_to_token_pool=None, token_to_kv_pool=None)
    assert type(ATTENTION_BACKENDS["torch_native"](runner)).__name__ == "CpuAttention"


@pytest.mark.parametrize(("kernels", "count"), [("int8", 2), ("float32", 0), ("stock", 0)])
def test_a_loaded_models_layers_get_our_method(
    monkeypatch: pytest.MonkeyPatch, kernels: str, count: int
) -> None:
    from sglang.srt.layers.quantization.unquant import (
        UnquantizedEmbeddingMethod,
        UnquantizedLinearMethod,
    )

    class Special(UnquantizedLinearMethod):  # type: ignore[misc]
        """Somebody's own form of weights."""

    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(4)))
    methods = (UnquantizedLinearMethod(), UnquantizedEmbeddingMethod(), Special(), None)
    for layer, method in zip(model, methods, strict=True):
        layer.quant_method = method
    monkeypatch.setenv(cpu.KERNELS, kernels)
    platforms.current_platform.post_load_model(model)
    ours = [type(layer.quant_method).__name__.startswith("Rounded") for layer in model]
    assert sum(ours) == count == cpu_linear.rounded_layers(model)
    assert not any(ours[2:])
