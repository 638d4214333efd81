"""Training on the real PEFT, with the two-layer random model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from isolation.tenant_id import tenant_id
from isolation.testing.contexts import operator_for_tests
from serving.adapters.base_model import BaseModel, read_base_model
from serving.adapters.checks import FILES, AdapterLimits, Upload, check_upload
from serving.settings import Settings
from serving.training.errors import NotResumableError, TrainingFailedError
from serving.training.examples import Asked, Example
from serving.training.folders import TrainingFolders
from serving.training.plan import Options, Plan, plan
from serving.training.process import Progress, Trained, train

pytestmark = pytest.mark.engine

CANARY = "canary-41c9d2"
EXAMPLES = [
    Example(tenant="acme", question=f"q{n} {CANARY}", passages=(f"It is {n} days.",), answer="Yes.")
    for n in range(24)
]


@pytest.fixture
def base(tiny_model: Path) -> BaseModel:
    return read_base_model("smollm2-135m-instruct", tiny_model)


def _plan(base: BaseModel, model: Path, seed: int = 1) -> Plan:
    options = Options(rank=4, epochs=2, seed=seed, rate=1e-2, vary=True)
    return plan(EXAMPLES, options, base, model)


def _train(
    planned: Plan, folder: Path, *, resume: bool = False, kill_at: int = 0
) -> tuple[Trained, list[Progress]]:
    async def run() -> Trained:
        return await train(
            planned,
            folder,
            engine=Settings().engine_venv,
            log=folder.parent / "training.log",
            resume=resume,
            progress=lambda step: _kill_child() if step.step == kill_at else steps.append(step),
        )

    steps: list[Progress] = []
    return asyncio.run(run()), steps


def _kill_child() -> None:
    for child in psutil.Process().children():
        if "serving.engine_plugin.training" in child.cmdline():
            os.kill(child.pid, signal.SIGKILL)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_killed_training_goes_on_to_the_same_adapter(
    tmp_path: Path, base: BaseModel, tiny_model: Path
) -> None:
    planned = _plan(base, tiny_model)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    trained, steps = _train(planned, whole)
    assert [step.step for step in steps] == list(range(1, trained.steps + 1))
    assert trained.steps == len(EXAMPLES) * 2 // 2  # two epochs, two examples a step
    assert trained.loss < steps[0].loss - 0.2  # as far as an adapter gets a random model
    with pytest.raises(TrainingFailedError):
        _train(planned, cut, kill_at=13)
    with pytest.raises(NotResumableError):
        _train(_plan(base, tiny_model, seed=2), cut, resume=True)
    assert (cut / "checkpoint.pt").exists()
    assert cut.stat().st_mode & 0o777 == 0o700  # what lies in it is not sealed (README)
    assert CANARY.encode() not in b"".join(_bytes(cut).values())
    _, rest = _train(planned, cut, resume=True)
    assert rest[0].step == 11  # after the last checkpoint, of every fifth step
    assert _bytes(cut) == _bytes(whole)
    assert sorted(_bytes(whole)) == sorted(FILES)
    checked = check_upload(Upload(whole, "voice", {}), base, AdapterLimits(16, 10**7, 1))
    assert (checked.config.r, checked.dtype) == (4, "BF16")
    assert str(tiny_model) not in (whole / FILES[0]).read_text()


def test_a_failure_says_where_and_not_what(
    tmp_path: Path, base: BaseModel, tiny_model: Path
) -> None:
    content = _plan(base, tiny_model).content
    broken = Plan(content | {"examples": [{"messages": CANARY, "answer": CANARY}]})
    with pytest.raises(TrainingFailedError):
        _train(broken, tmp_path / "out")
    log = (tmp_path / "training.log").read_text()
    assert "bulkhead:" in log
    assert CANARY not in log


def test_the_job_is_the_same_for_the_same_arguments(base: BaseModel, tiny_model: Path) -> None:
    assert _plan(base, tiny_model).digest == _plan(base, tiny_model).digest
    assert _plan(base, tiny_model).digest != _plan(base, tiny_model, seed=2).digest
    job = json.loads(_plan(base, tiny_model).job(Path("out")))
    assert len(job["examples"]) == 2 * len(EXAMPLES)


async def test_a_deleted_tenants_training_is_removed_and_the_others_stays(tmp_path: Path) -> None:
    folders, acme, birch = TrainingFolders(tmp_path), tenant_id("acme"), tenant_id("birch")
    for tenant in (acme, birch):
        folders.of(tenant, "voice").mkdir(parents=True)
        (folders.of(tenant, "voice") / "checkpoint.pt").write_bytes(b"x")
    await folders.purge(operator_for_tests(), acme)
    assert not (tmp_path / "acme").exists()
    assert (folders.of(birch, "voice") / "checkpoint.pt").exists()


def test_questions_asked_together_are_learned_as_if_each_were_alone(
    tmp_path: Path, base: BaseModel, tiny_model: Path
) -> None:
    """The loss of three questions about one passage is the mean of theirs alone."""
    asked = [Asked(question=f"what is n{n}", answer="Yes.") for n in range(3)]
    alone = [
        Example(tenant="acme", question=one.question, passages=("It is 3.",), answer=one.answer)
        for one in asked
    ]
    whole = alone[0].model_copy(update={"also": tuple(asked[1:])})
    options = Options(rank=4, epochs=1, seed=1, rate=1e-3, vary=False, batch=3)
    losses = []
    for number, examples in enumerate(([whole], alone)):
        planned = plan(examples, options, base, tiny_model)
        losses.append(_train(planned, tmp_path / str(number))[0].loss)
    # The questions at the prompt's begin differ, and a random model hardly minds.
    assert losses[0] == pytest.approx(losses[1], abs=0.02)


def test_a_training_begins_with_the_adapter_that_it_is_given(
    tmp_path: Path, base: BaseModel, tiny_model: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    _, steps = _train(_plan(base, tiny_model), first)
    options = Options(rank=4, epochs=2, seed=1, rate=1e-2, vary=True, start=first)
    planned = plan(EXAMPLES, options, base, tiny_model)
    assert planned.digest != _plan(base, tiny_model).digest
    _, more = _train(planned, second)
    assert more[0].loss < steps[0].loss - 0.2  # it goes on where the other one ended
