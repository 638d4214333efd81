"""`bulkhead qdrant`: what concerns a Qdrant server alone."""

from __future__ import annotations

from typing import Annotated

import typer

from rag.store.server.token import collection_token
from serving.cli.output import out
from serving.errors import StartupError
from serving.settings import load_settings

app = typer.Typer(help="A Qdrant server's own affairs.", no_args_is_help=True)


@app.callback()
def _several() -> None:
    """A Qdrant server's own affairs."""


@app.command("token")
def token(
    days: Annotated[int, typer.Option(min=1, max=3_650)] = 90,
    collection: Annotated[
        str | None, typer.Option(help="After a re-embedding: the one that answers now.")
    ] = None,
) -> None:
    """Print a token that opens the gateways' collection and no other.

    It is signed with the server's own key, BULKHEAD_QDRANT_API_KEY. The server must have
    `service.jwt_rbac` on.
    """
    settings = load_settings()
    if settings.qdrant_api_key is None:
        raise StartupError("Set BULKHEAD_QDRANT_API_KEY to the Qdrant server's own key.")
    key = settings.qdrant_api_key.get_secret_value()
    out.print(
        collection_token(key, collection or settings.qdrant_collection, days * 86_400),
        markup=False,
        soft_wrap=True,
    )
