"""The child that trains, in the engine's environment: torch and PEFT are there and not here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.engine.install import python
from serving.training.errors import NotResumableError, TrainingFailedError
from serving.training.plan import Plan

_MODULE = "serving.engine_plugin.training"
_JOB, _CHECKPOINT = "training.json", "checkpoint.pt"
# Its own environment says nothing of the platform's secrets.
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Progress:
    """After a step. `seconds` is of this step; `tokens` are all that it read."""

    step: int
    of: int
    loss: float
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter lies in the folder. loss: of the last tenth of the steps, a token of an answer."""

    loss: float
    steps: int
    peak_bytes: int


async def train(
    plan: Plan,
    folder: Path,
    *,
    engine: Path,
    log: Path,
    resume: bool,
    progress: Callable[[Progress], None],
) -> Trained:
    """Train as planned; the two files of the adapter are in `folder` when this returns.

    A training that is killed leaves its last checkpoint there, for `resume`; that is removed at the
    end. The job goes to the child through a pipe, and to no disk. When this process dies, the child
    ends with its next step.

    Raises:
        NotResumableError: the checkpoint in `folder` is of another plan.
        TrainingFailedError: the child failed; the log says where, and holds no example.
    """
    _begin(plan, folder, resume)
    log.parent.mkdir(parents=True, exist_ok=True)
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # A machine that does other things too: threads that wait for each other must not spin.
    settings = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONHASHSEED": "0"}
    with log.open("ab") as output:
        child = await asyncio.create_subprocess_exec(
            *(str(python(engine)), "-W", "ignore", "-m", _MODULE),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            env=passed | settings,
        )
        try:
            trained = await _followed(child, plan.job(folder), progress)
        except BaseException:
            child.kill()
            raise
        finally:
            status = await child.wait()
    if status != 0 or trained is None:
        raise TrainingFailedError(f"The training ended with status {status}. Log: {log}")
    (folder / _JOB).unlink()
    return trained


def _begin(plan: Plan, folder: Path, resume: bool) -> None:
    """Says in the folder which plan is carried out, and removes what was of another."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    said, checkpoint = folder / _JOB, folder / _CHECKPOINT
    if not resume:
        checkpoint.unlink(missing_ok=True)
    elif checkpoint.exists() and json.loads(said.read_text())["digest"] != plan.digest:
        raise NotResumableError
    said.write_text(json.dumps({"digest": plan.digest}))


async def _followed(
    child: asyncio.subprocess.Process, job: bytes, progress: Callable[[Progress], None]
) -> Trained | None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(job)
    child.stdin.close()
    losses: list[float] = []
    async for line in child.stdout:
        said: dict[str, Any] = json.loads(line)
        if "step" in said:
            step = Progress(**said)
            losses.append(step.loss)
            progress(step)
        else:
            last = losses[-max(1, len(losses) // 10) :]
            mean = sum(last) / len(last) if last else 0.0
            return Trained(round(mean, 4), said["of"], said["peak_bytes"])
    return None
