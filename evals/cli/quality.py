"""`bulkhead bench quality`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evals.report import write
from serving.cli.output import err, fail, out


def command(
    data: Annotated[
        Path | None, typer.Option(help="The support articles: documents.jsonl, questions.jsonl.")
    ] = None,
    merchants: Annotated[Path, typer.Option(help="The merchants' folder.")] = Path(
        "examples/merchants"
    ),
    most: Annotated[
        int | None, typer.Option("--questions", min=4, help="Of each group and half; for a look.")
    ] = None,
    save: Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")] = None,
) -> None:
    """nDCG@10 and recall@20 of each way to search; what the refusal threshold does, and
    compression."""
    if data is None:
        err.print("No --data: the support articles are left out, and the demo merchants remain.")
    elif not all((data / name).is_file() for name in ("documents.jsonl", "questions.jsonl")):
        raise typer.BadParameter("--data has no documents.jsonl and questions.jsonl.")
    # Here and not above: they bring LlamaIndex's readers, and every benchmark would load them.
    from evals.quality.corpora import ForeignHitError
    from evals.quality.retrieval import measure

    try:
        with err.status("starting") as status:
            result = asyncio.run(measure(merchants, data, most, status.update))
    except ForeignHitError as error:
        fail(f"LEAK: {error}.")
        raise typer.Exit(1) from None
    out.print(_ranking_table(result["ranking"]))
    out.print(_difference_table(result["ranking"]))
    out.print(_refusal_table(result["refusal"]))
    out.print(_compression_table(result["compression"]))
    if save is not None:
        write(save, result)


def _ranking_table(ranking: dict[str, Any]) -> Table:
    table = Table("questions (not of development)", "way", "nDCG@10", "recall@20")
    for group, cells in ranking.items():
        reported = _reported(cells)
        for way, scores in reported["ways"].items():
            name = f"{group} ({reported['questions']})"
            table.add_row(name, way, *(_shown(score) for score in scores.values()))
    return table


def _difference_table(ranking: dict[str, Any]) -> Table:
    table = Table("questions (not of development)", "difference", "nDCG@10", "recall@20")
    for group, cells in ranking.items():
        for which in ("all", "follow_ups"):
            cell = _reported(cells) if which == "all" else _reported(cells)["follow_ups"]
            for pair, scores in (cell or {"differences": {}})["differences"].items():
                table.add_row(f"{group}, {which}", pair, *(_shown(s) for s in scores.values()))
    return table


def _refusal_table(refusal: dict[str, Any]) -> Table:
    table = Table("refusal", "threshold", "false refusals", "let through", "separation")
    by_corpus = {
        f"{name}, {corpus}": cell
        for name, cells in (
            ("test", refusal["by_corpus"]),
            ("fresh", refusal["fresh_by_corpus"]),
        )
        for corpus, cell in cells.items()
    }
    whole = {name: cell for name, cell in refusal.items() if "threshold" in cell}
    for name, cell in (whole | by_corpus).items():
        shares = (_shared(cell["false_refusals"]), _shared(cell["let_through"]["all"]))
        table.add_row(name, str(cell["threshold"]), *shares, str(cell["separation"]))
    return table


def _reported(cells: dict[str, Any]) -> dict[str, Any]:
    cell: dict[str, Any] = cells.get("test") or cells["fresh"]
    return cell


def _shown(score: dict[str, float]) -> str:
    return f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def _shared(share: dict[str, float]) -> str:
    return f"{share['count']}/{share['of']} [{share['low']:.3f}, {share['high']:.3f}]"


def _compression_table(compression: dict[str, Any]) -> Table:
    table = Table("sentences in the prompt", "prompts that hold the fact", "characters")
    for sentences, cell in compression.items():
        held = cell["fact_in_prompt"]
        table.add_row(sentences, f"{held['count']} of {held['of']}", str(cell["characters"]))
    return table
