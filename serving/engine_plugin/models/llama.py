"""Llama's architecture, which the demo's model has: the one that a worker knows at once.

SGLang imports each of the 250 models that it has. With a package named in
SGLANG_EXTERNAL_MODEL_PACKAGE it imports that one's only (`EntryClass` of its modules), and all
others when the model is none of them.
"""

from sglang.srt.models.llama import LlamaForCausalLM

EntryClass = LlamaForCausalLM
