"""GGUF into a Hugging Face folder: `python -m serving.engine_plugin.convert GGUF OUT [--tiny]`.

Runs in the engine's environment. With `--tiny` the weights are random, of two small layers, and
only the tokenizer is the real one: a model for contract tests that answers in milliseconds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from serving.engine_plugin.cpu import allow_torchvision_without_cuda

_MODEL_MAX_LENGTH = 8192


def main() -> None:
    """Convert, as the command line says."""
    gguf, out = Path(sys.argv[1]), Path(sys.argv[2])
    allow_torchvision_without_cuda()
    model = _tiny_model(gguf) if "--tiny" in sys.argv[3:] else _dequantized(gguf)
    model.save_pretrained(out)
    _save_tokenizer(gguf, out)


def _dequantized(gguf: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32
    )
    # Dequantized, but still marked as GGUF, which save_pretrained refuses to serialize.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.config.architectures = [type(model).__name__]
    return model


def _tiny_model(gguf: Path) -> Any:
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    config = AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.update(
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
        }
    )
    config.architectures = ["LlamaForCausalLM"]
    torch.manual_seed(0)
    return LlamaForCausalLM(config).to(torch.float32)


def _save_tokenizer(gguf: Path, out: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(out)
    _restore_pre_tokenizer(out / "tokenizer.json")
    path = out / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config |= {
        "model_max_length": _MODEL_MAX_LENGTH,
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    for key in ("is_local", "local_files_only", "backend"):
        config.pop(key, None)
    path.write_text(json.dumps(config, indent=1))


def _restore_pre_tokenizer(path: Path) -> None:
    """The GGUF form loses SmolLM2's pre-tokenizer: single digits, then bytes."""
    data = json.loads(path.read_text())
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    digits = {"type": "Digits", "individual_digits": True}
    data["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, byte_level]}
    data["decoder"] = byte_level | {"add_prefix_space": True}
    path.write_text(json.dumps(data, ensure_ascii=False))


if __name__ == "__main__":
    main()
