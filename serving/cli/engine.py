"""`bulkhead engine install | serve | trust | prefix | dead-letters | release`."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from serving.cli import prefix
from serving.cli.dead_letters import dead_letters, release
from serving.cli.output import note, out
from serving.engine.install import install, this_device
from serving.engine.launch import Launched, Lora, Worker, launch
from serving.engine.model_files import DEFAULT_MODEL, TINY_MODEL, prepare_model
from serving.engine.proof import signer_of
from serving.settings import Settings, load_settings
from serving.supervision.process import GuardedProcess

app = typer.Typer(help="The SGLang engine on this machine.", no_args_is_help=True)
app.add_typer(prefix.app, name="prefix")
app.command()(dead_letters)
app.command()(release)


class Model(StrEnum):
    """Which model to make."""

    default = "default"
    tiny = "tiny"


_VARIANTS = {Model.default: DEFAULT_MODEL, Model.tiny: TINY_MODEL}
_ModelOption = Annotated[Model, typer.Option(help="tiny: two random layers, for contract tests.")]


@app.command("install")
def install_command(model: _ModelOption = Model.default) -> None:
    """Make the engine's environment and the model's folder. Does nothing twice."""
    settings = load_settings()
    folder = prepared(settings, model)
    out.print(f"engine: {settings.engine_venv}\nmodel:  {folder}", markup=False)


@app.command()
def serve(model: _ModelOption = Model.default) -> None:
    """Run one worker until interrupted; its URL and the file with its key are printed."""
    settings = load_settings()
    folder = prepared(settings, model)
    trust = settings.engine_trust or signer_of(settings).trust()
    launched = launch(worker_of(settings, folder), settings.data_dir / "run", trust)
    sys.exit(asyncio.run(_serve(launched, settings)))


@app.command("trust")
def trust_command() -> None:
    """Print the trust file that lets an engine believe this gateway's proofs."""
    out.print(signer_of(load_settings()).trust(), markup=False, highlight=False)


async def _serve(launched: Launched, settings: Settings) -> int:
    log = settings.data_dir / "logs" / "engine.log"
    process = await GuardedProcess.start(launched.command, log=log, grace=1.0)
    out.print(f"url:    {launched.url}\nconfig: {launched.command.argv[-1]}\nlog:    {log}")
    try:
        return await process.wait()
    finally:
        await process.stop()


def prepared(settings: Settings, model: Model = Model.default) -> Path:
    """The model's folder, once environment and model are there; says what it does meanwhile."""
    log = settings.data_dir / "logs" / "install.log"
    install(settings.engine_venv, this_device(), log, note)
    if settings.model_path is not None:
        return settings.model_path
    return prepare_model(_VARIANTS[model], settings.engine_venv, log, note)


def worker_of(settings: Settings, model: Path) -> Worker:
    """The worker that the settings describe."""
    return Worker(
        engine=settings.engine_venv,
        model=model.absolute(),
        device=this_device(),
        port=settings.engine_port,
        slots=settings.engine_slots,
        start_seconds=settings.engine_start_seconds,
        lora=_lora(settings),
        shared_chunk=_shared_chunk(settings),
        kernels=settings.engine_kernels,
        tool_parser="" if settings.engine_tool_parser == "off" else settings.engine_tool_parser,
        scrub_adapters=settings.kv_scrub == "on",
    )


def _shared_chunk(settings: Settings) -> int:
    if settings.engine_shared_chunk is not None:
        return settings.engine_shared_chunk
    return 256 if this_device() == "cpu" else 2048


def _lora(settings: Settings) -> Lora | None:
    if settings.adapters == "off":
        return None
    return Lora(settings.adapter_rank, settings.adapter_batch, settings.adapter_capacity)
