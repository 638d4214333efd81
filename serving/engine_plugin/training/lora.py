"""The base model with LoRA (Hu et al., ICLR 2022) by PEFT: only the adapter's weights learn."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import load_peft_weights, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer

from serving.engine_plugin.training.job import Example, TrainingJob
from serving.engine_plugin.training.reading import read

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Learner:
    """A model and its tokenizer. One example at a time: memory is that of the longest one."""

    def __init__(self, job: TrainingJob) -> None:
        torch.manual_seed(job.seed)
        self._tokenizer = AutoTokenizer.from_pretrained(job.model)
        # float32: a CPU without bfloat16 units computes it more slowly.
        base = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
        config = LoraConfig(
            r=job.rank,
            lora_alpha=job.alpha,
            target_modules=list(job.modules),
            task_type="CAUSAL_LM",
        )
        self._model = get_peft_model(base, config)
        if job.start is not None:
            set_peft_model_state_dict(
                self._model, load_peft_weights(job.start["folder"], device="cpu")
            )
        self._model.train()
        self._base = job.base
        # Below the first layer that learns, B stays zero, and no gradient is computed.
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad and _layer(name) < job.first_layer:
                parameter.requires_grad = False

    @property
    def weights(self) -> dict[str, Any]:
        """What learns, by name."""
        return {name: p for name, p in self._model.named_parameters() if p.requires_grad}

    def restore(self, weights: dict[str, Any]) -> None:
        """Take the weights of a checkpoint."""
        with torch.no_grad():
            for name, parameter in self.weights.items():
                parameter.copy_(weights[name])

    def learn(self, example: Example, share: float) -> tuple[float, int]:
        """Add `share` of the example's gradient; its loss a token of the answer, and its tokens."""
        reading = read(self._tokenizer, example)
        # The head is a fifth of this model: it is computed where the answers are, and nowhere else.
        logits = self._model(
            input_ids=reading.ids[None],
            position_ids=reading.positions[None],
            attention_mask=reading.mask(),
            logits_to_keep=reading.before_answers,
        ).logits[0]
        loss = torch.nn.functional.cross_entropy(logits, reading.answers)
        (loss * share).backward()
        return float(loss.detach()), len(reading.ids)

    def save(self, folder: Path) -> None:
        """Write the adapter as PEFT does, in bfloat16, and its two files only."""
        for name, parameter in self._model.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.to(torch.bfloat16)
        with tempfile.TemporaryDirectory(dir=folder) as making:
            self._model.save_pretrained(making, save_embedding_layers=False)
            written = Path(making)
            config = json.loads((written / _CONFIG).read_text())
            # A folder of this machine, and a set that PEFT writes in another order each time.
            config["base_model_name_or_path"] = self._base
            config["target_modules"] = sorted(config["target_modules"])
            (written / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
            for name in (_CONFIG, _WEIGHTS):
                (written / name).replace(folder / name)


def _layer(name: str) -> int:
    """Which layer a weight is of: `...layers.12.self_attn...`."""
    return int(name.partition(".layers.")[2].partition(".")[0])
