"""Trains one adapter: `python -m serving.engine_plugin.training`, the job on standard input.

Runs in the engine's environment, which has torch and PEFT. Standard output holds one JSON object a
step; whoever reads it may go away, and the training ends there.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from serving import crashes
from serving.engine_plugin.cpu import allow_torchvision_without_cuda
from serving.engine_plugin.training.job import TrainingJob, read_job

_WARM_UP = 0.06


def main() -> None:
    """Train, from the checkpoint of this job where there is one."""
    job = read_job(sys.stdin.read())
    allow_torchvision_without_cuda()
    # Here: whoever reads a job needs no torch.
    import torch

    from serving.engine_plugin.training import checkpoint
    from serving.engine_plugin.training.lora import Learner

    torch.use_deterministic_algorithms(True)
    learner = Learner(job)
    optimizer = torch.optim.AdamW(learner.weights.values(), lr=job.rate, weight_decay=0.0)
    done = 0
    if (found := checkpoint.load(job.folder, job.digest)) is not None:
        learner.restore(found["weights"])
        optimizer.load_state_dict(found["optimizer"])
        done = found["step"]
    for step in range(done, job.steps):
        _say(_step(job, step, learner, optimizer))
        if (step + 1) % job.checkpoint_steps == 0:
            checkpoint.save(job.folder, job.digest, step + 1, learner.weights, optimizer)
    learner.save(job.folder)
    checkpoint.remove(job.folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    _say({"of": job.steps, "peak_bytes": peak})


def _step(job: TrainingJob, step: int, learner: Any, optimizer: Any) -> dict[str, Any]:
    """One step of the optimizer."""
    import torch

    begun, loss, tokens = time.monotonic(), 0.0, 0
    examples = job.of_step(step)
    for example in examples:
        one, length = learner.learn(example, 1 / len(examples))
        loss, tokens = loss + one / len(examples), tokens + length
    torch.nn.utils.clip_grad_norm_(learner.weights.values(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = job.rate * _scale(step, job.steps)
    optimizer.step()
    optimizer.zero_grad()
    seconds = time.monotonic() - begun
    return {
        "step": step + 1,
        "of": job.steps,
        "loss": loss,
        "tokens": tokens,
        "seconds": seconds,
    }


def _scale(step: int, steps: int) -> float:
    """Up for a few steps, then down to nothing, both in a straight line."""
    warm = max(1, round(_WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return (steps - step) / max(1, steps - warm)


def _say(progress: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(progress) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # An error's text may hold what is learned: the log gets its kind and place alone.
    crashes.install()
    main()
