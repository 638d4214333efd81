"""SGLang knows our package's models at once, and all of its own when one is none of them."""

from __future__ import annotations

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

from sglang.srt.models.registry import ModelRegistry  # isort: skip

assert kv_pool


def test_a_model_of_ours_is_known_without_all_of_sglangs() -> None:
    assert list(ModelRegistry.models) == ["LlamaForCausalLM"]
    model, _ = ModelRegistry.resolve_model_cls(["LlamaForCausalLM"])
    assert model.__module__ == "sglang.srt.models.llama"
    assert len(ModelRegistry.models) == 1


def test_any_other_is_found_among_sglangs() -> None:
    model, _ = ModelRegistry.resolve_model_cls(["Qwen2ForCausalLM"])
    assert model.__module__ == "sglang.srt.models.qwen2"
