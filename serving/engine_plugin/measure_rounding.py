"""What eight-bit weights change: `python -m serving.engine_plugin.measure_rounding MODEL TEXT`.

Prints JSON. Runs in the engine's environment. A text is read twice, with the exact weights and with
the rounded ones in every linear layer and the head, as decoding uses them; all tokens but the
first of each window are predicted.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from serving.engine_plugin.cpu import allow_torchvision_without_cuda

_WINDOW, _TOKENS = 256, 2_048


def main() -> None:
    """Measure, as the command line says."""
    folder, text = sys.argv[1], Path(sys.argv[2]).read_text()
    allow_torchvision_without_cuda()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    tokens = AutoTokenizer.from_pretrained(folder)(text)["input_ids"][:_TOKENS]
    windows = [tokens[at : at + _WINDOW] for at in range(0, len(tokens) - 1, _WINDOW)]
    exact = _read(model, windows)
    _round(model)
    json.dump(_compared(exact, _read(model, windows), windows), sys.stdout)


def _read(model: Any, windows: list[list[int]]) -> list[Any]:
    """Log-probabilities of each window's next tokens: tokens less one, vocabulary."""
    import torch

    with torch.no_grad():
        logits = [model(torch.tensor([window])).logits[0, :-1] for window in windows]
    return [each.log_softmax(-1) for each in logits]


def _round(model: Any) -> None:
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.forward = _rounded(module)


def _rounded(module: Any) -> Any:
    from serving.engine_plugin.cpu_linear import linear

    layer = SimpleNamespace(weight=module.weight)

    def forward(x: Any) -> Any:
        result = linear(x.reshape(-1, x.shape[-1]), layer).view(*x.shape[:-1], -1)
        return result if module.bias is None else result + module.bias

    return forward


def _compared(exact: list[Any], rounded: list[Any], windows: list[list[int]]) -> dict[str, Any]:
    divergence = same = 0.0
    for before, after in zip(exact, rounded, strict=True):
        divergence += float((before.exp() * (before - after)).sum())
        same += float((before.argmax(-1) == after.argmax(-1)).sum())
    count = sum(len(window) - 1 for window in windows)
    perplexities = [_perplexity(each, windows, count) for each in (exact, rounded)]
    return {
        "tokens": count,
        "perplexity_exact": round(perplexities[0], 3),
        "perplexity_rounded": round(perplexities[1], 3),
        "mean_divergence_nats": round(divergence / count, 5),
        "same_first_choice": round(same / count, 4),
    }


def _perplexity(read: list[Any], windows: list[list[int]], count: int) -> float:
    import torch

    loss = 0.0
    for each, window in zip(read, windows, strict=True):
        loss -= float(each.gather(1, torch.tensor(window[1:])[:, None]).sum())
    return math.exp(loss / count)


if __name__ == "__main__":
    main()
