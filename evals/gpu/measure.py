"""`python -m evals.gpu.measure`: tenancy's gains and costs on this machine's GPU, beside SGLang.

Two engines run at once and are asked in turns. `evals/gpu/run.py` makes the environments first.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.gpu.shapes import LOAD, Shape, model_of
from evals.performance import prefix, tenants
from evals.performance.flood import Flood
from evals.report import write
from serving.cli.engine import Model, prepared, worker_of
from serving.cli.output import note
from serving.engine.install import python
from serving.engine.launch import Worker
from serving.errors import StartupError
from serving.settings import load_settings

# Two engines share the card.
_SHARE = ("--mem-fraction-static", "0.4")
_SLOTS = 64
_SEES_A_CARD = "import sys, torch; sys.exit(not torch.cuda.is_available())"


def main(arguments: list[str]) -> int:
    """Measure, and write the result as JSON. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="evals.gpu.measure")
    parser.add_argument("--shape", type=Shape, default=Shape.large)
    parser.add_argument("--backend", action="append", help="SGLang's --attention-backend.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tenants", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    settings = load_settings()
    tokenizer = prepared(settings, Model.tiny)
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(options.shape, tokenizer, Path(folder) / "model")
        worker = replace(worker_of(settings, model), lora=None, slots=_SLOTS, arguments=LOAD)
        if worker.device == "cuda":
            _require_card(worker.engine)
        result = {"shape": options.shape.value, "device": worker.device, "backends": {}}
        for backend in options.backend or ["default"]:
            note(f"attention backend: {backend}")
            result["backends"][backend] = asyncio.run(_measured(worker, backend, options))
            # After each: a backend that fails leaves the earlier ones' figures.
            write(options.out, result)
    return 0


def _require_card(engine: Path) -> None:
    """See that the driver is new enough, before two engines fail at their start.

    Raises:
        StartupError: it is not.
    """
    if subprocess.run([str(python(engine)), "-c", _SEES_A_CARD], check=False).returncode:
        raise StartupError(
            "nvidia-smi shows a card, and the engine's PyTorch cannot use it: the driver is older "
            "than the CUDA that SGLang 0.5.23 wants. See docs/results-gpu.md."
        )


async def _measured(worker: Worker, backend: str, options: argparse.Namespace) -> dict[str, Any]:
    large, count = options.shape is Shape.large, options.tenants
    chosen = () if backend == "default" else ("--attention-backend", backend)
    share = _SHARE if worker.device == "cuda" else ()
    pool = ("--max-total-tokens", "65536" if large else "8192")
    # The flood's first prompts are half as much again as the pool; between two asks of a victim it
    # sends as much as the pool lacks room for, so that SGLang as it is loses the victim's prompt.
    flood = Flood(count, victim_words=400, asks=10, prompts=60, words=400, streams=8)
    plan = prefix.Plan(count, flood=flood, rounds=options.rounds)
    crowd = tenants.Crowd(count, rounds=options.rounds)
    if not large:
        flood = Flood(count, victim_words=150, asks=2, prompts=18, words=160)
        plan = replace(plan, turns=2, flood=flood)
        crowd = replace(crowd, streams=1, words=20, tokens=8)
    worker = replace(worker, arguments=(*worker.arguments, *chosen, *share, *pool))
    async with prefix.running(worker, note) as sides:
        return {
            "prefix": await prefix.measured(sides, plan, note),
            "tenants": await tenants.measured(sides, crowd, note),
        }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
