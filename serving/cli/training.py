"""`bulkhead adapter examples | train`: an adapter from a tenant's own documents and answers."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from isolation.tenant_id import TenantId, tenant_id
from rag.documents import Passage
from rag.embedding.choice import chosen
from rag.retrieval.compression import SMALL_MODEL, compressed
from serving.adapters.base_model import ATTENTION, BaseModel, read_base_model
from serving.adapters.checks import AdapterLimits, Upload, check_upload
from serving.adapters.names import checked_name
from serving.adapters.peft_config import CONFIG_FILE, read_lora_config
from serving.adapters.weights import WEIGHTS_FILE, check_weights
from serving.cli.adapter_upload import upload
from serving.cli.client import call, operator_client, tenant_client
from serving.cli.engine import prepared
from serving.cli.output import err, note, out
from serving.engine.tokens import TokenizerCounter
from serving.settings import Settings, load_settings
from serving.training.examples import Example, Pair, read_examples, read_pairs, write_examples
from serving.training.folders import TrainingFolders
from serving.training.plan import Options, Plan, plan
from serving.training.process import Progress, Trained
from serving.training.process import train as train_in_child
from serving.training.together import searched, together

_MOST_FOUND = 50
_Url = Annotated[str | None, typer.Option(help="A gateway elsewhere.")]


def examples(
    tenant: str,
    pairs: Annotated[Path, typer.Option(help="JSON Lines: question, answer, document.")],
    save: Annotated[Path, typer.Option("--out", help="Where the examples go.")],
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A document that no example may hold; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same gives the same examples.")] = 7,
    url: _Url = None,
) -> None:
    """Give question-answer pairs the passages that a chat finds for them."""
    name, known = tenant_id(tenant), read_pairs(pairs)
    made = asyncio.run(_made(name, known, frozenset(leave_out or ()), seed, url))
    write_examples(save, made)
    asked = [text for each in made for text in each.questions]
    missed = len({pair.question for pair in known}.difference(asked))
    out.print(
        f"{name}: {len(asked)} questions in {len(made)} examples; "
        f"{missed} answers stand in no passage that was found"
    )


def train(
    tenant: str,
    data: Annotated[Path, typer.Option(help="JSON Lines, as `adapter examples` writes them.")],
    name: Annotated[str, typer.Option(help="The adapter's name.")],
    rank: Annotated[int, typer.Option(min=1, max=256)] = 8,
    epochs: Annotated[int, typer.Option(min=1, max=100)] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same gives the same adapter.")] = 7,
    rate: Annotated[float, typer.Option(min=1e-6, max=0.1, help="Of learning.")] = 6e-4,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Examples of one step.")] = 2,
    start: Annotated[
        Path | None, typer.Option(help="A folder with the adapter to begin with; as many ranks.")
    ] = None,
    vary: Annotated[
        bool, typer.Option(help="Other numbers in later epochs: it learns to read.")
    ] = True,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Leave it there, and upload nothing.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was killed.")] = False,
    url: _Url = None,
) -> None:
    """Train a LoRA adapter for the default model, on this machine, and upload it.

    Until it is uploaded, its weights and checkpoints lie unsealed in DATA_DIR/training/TENANT.
    """
    settings, own = load_settings(), tenant_id(tenant)
    work = folder or TrainingFolders(settings.data_dir / "training").of(own, name)
    checked_name(name)
    model = prepared(settings)
    base = read_base_model(settings.model, model)
    learned = read_examples(data, own, TokenizerCounter(model).count_messages)
    if folder is None:
        # Before the work: a tenant that is not there is told now.
        asyncio.run(_require_tenant(own, url))
    limits = AdapterLimits(settings.adapter_rank, settings.adapter_max_bytes, 1)
    if start is not None:
        _check_start(start, rank, base, limits)
    planned = plan(learned, Options(rank, epochs, seed, rate, vary, batch, start), base, model)
    trained = _trained(planned, work, settings, resume)
    check_upload(Upload(work, name, {}), base, limits)
    note(f"trained: {trained.steps} steps, loss {trained.loss}, {_gb(trained.peak_bytes)} at most")
    if folder is not None:
        out.print(f"{own}: {name} is in {folder}", markup=False)
        return
    metrics = json.dumps({"training_loss": trained.loss, "training_steps": trained.steps})
    added = asyncio.run(upload(own, name, work, metrics, url))
    shutil.rmtree(work)
    out.print(f"{own}: {added['id']} added (rank {added['rank']}, {added['dtype']})")


def _check_start(folder: Path, rank: int, base: BaseModel, limits: AdapterLimits) -> None:
    """What a training begins with is checked as an upload is: it may be anybody's."""
    config = read_lora_config(folder / CONFIG_FILE, base, limits.rank)
    check_weights(folder / WEIGHTS_FILE, config, base)
    if config.r != rank or set(config.target_modules) != set(ATTENTION):
        raise typer.BadParameter("--start: another rank, or other modules, than this training's.")


def _trained(planned: Plan, work: Path, settings: Settings, resume: bool) -> Trained:
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("step {task.completed}/{task.total}, {task.fields[said]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=err) as bar:
        task = bar.add_task("", total=None, said="loading the model")

        def show(step: Progress) -> None:
            said = f"loss {step.loss:.3f}, {step.tokens / step.seconds:.0f} tokens/s"
            bar.update(task, completed=step.step, total=step.of, said=said)

        return asyncio.run(
            train_in_child(
                planned,
                work,
                engine=settings.engine_venv,
                log=settings.data_dir / "logs" / "training.log",
                resume=resume,
                progress=show,
            )
        )


async def _require_tenant(tenant: TenantId, url: str | None) -> None:
    async with operator_client(load_settings(), url) as operator, tenant_client(operator, tenant):
        pass


async def _made(
    tenant: TenantId,
    pairs: Sequence[Pair],
    left_out: frozenset[str],
    seed: int,
    url: str | None,
) -> list[Example]:
    settings = load_settings()
    counter = TokenizerCounter(prepared(settings))
    # As a chat on this machine's CPU has it, which is what is trained for here.
    wanted = settings.prompt_sentences
    sentences = SMALL_MODEL if wanted is None else wanted
    found: list[tuple[Pair, list[Passage]]] = []
    with closing(chosen(settings.embedding)) as embedder:
        async with (
            operator_client(settings, url) as operator,
            tenant_client(operator, tenant) as own,
        ):
            for pair in pairs:
                passages = await _found(own, tenant, searched(pair), settings.top_k, left_out)
                if sentences:
                    passages = await compressed(embedder, searched(pair), passages, sentences)
                found.append((pair, passages))
    budget = settings.passage_tokens
    return together(tenant, found, token_budget=budget, count_tokens=counter.count, seed=seed)


async def _found(
    own: httpx.AsyncClient, tenant: TenantId, query: str, top_k: int, left_out: frozenset[str]
) -> list[Passage]:
    """The best passages, as a model gets them: what was masked in a document stays masked."""
    limit = min(_MOST_FOUND, top_k + len(left_out))
    body = {"query": query, "top_k": limit, "masked": True}
    answer = await call(own, "POST", "/v1/search", json=body)
    found = [
        Passage(tenant, hit["document_id"], "", number, hit["title"], hit["text"], hit["score"])
        for number, hit in enumerate(answer["data"])
        if hit["document_id"] not in left_out
    ]
    return found[:top_k]


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB of memory"
