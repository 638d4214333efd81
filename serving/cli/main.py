"""The `bulkhead` command: its sub-commands come from the entry-point group `bulkhead.commands`.

So that `evals` can add `verify`, `bench` and `eval` without being imported by what it measures.
"""

from __future__ import annotations

import gc
import logging
import sys
from importlib.metadata import entry_points

import typer

from isolation.errors import BulkheadError
from serving import crashes
from serving.cli.output import fail

_GROUP = "bulkhead.commands"


def build(asked: str | None = None) -> typer.Typer:
    """The command with all sub-commands that are installed, or with only the one asked for.

    Loading them all takes seconds: each brings the libraries that it needs.
    """
    app = typer.Typer(
        name="bulkhead",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    points = entry_points(group=_GROUP)
    chosen = points.select(name=asked) if asked in points.names else points
    for point in sorted(chosen, key=lambda point: point.name):
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name)(command)
    app.callback()(_several)
    return app


def _several() -> None:
    """Tenant-isolated RAG on shared LLM infrastructure."""


def main() -> None:
    """Run; an expected failure is one line on standard error and exit status 1."""
    # Some libraries set up logging to the terminal when imported; with a handler here they cannot.
    logging.getLogger().addHandler(logging.NullHandler())
    crashes.install()
    # Loading makes little garbage, and a sixth of its time would go into looking for it.
    gc.disable()
    try:
        command = build(sys.argv[1] if len(sys.argv) > 1 else None)
        # Nor is what was loaded looked through later: that takes a quarter of a second, in which a
        # gateway answers nobody.
        gc.freeze()
        gc.enable()
        command()
    except BulkheadError as error:
        fail(error.message)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # Here, and by no hook: Typer has one of its own, which tells the error's text.
        crashes.report(type(error), error.__traceback__)
        sys.exit(70)
