"""Llama's architecture, which the demo's model has too."""

from sglang.srt.models.llama import LlamaForCausalLM

EntryClass = LlamaForCausalLM
