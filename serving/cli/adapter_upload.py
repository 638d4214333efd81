"""An adapter's two files, through the gateway's own route."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from serving.adapters.checks import FILES
from serving.cli.client import CallFailedError, call, operator_client, tenant_client
from serving.settings import load_settings


async def upload(
    tenant: str, name: str, folder: Path, metrics: str, url: str | None
) -> dict[str, Any]:
    """Add what is in `folder` as the newest version of `name`; what the gateway says of it.

    Raises:
        CallFailedError: the files are not there, or it was refused.
    """
    with ExitStack() as opened:
        try:
            files = [
                ("files", (file, opened.enter_context((folder / file).open("rb"))))
                for file in FILES
            ]
        except OSError:
            raise CallFailedError(f"{folder} does not hold {' and '.join(FILES)}.") from None
        async with (
            operator_client(load_settings(), url) as operator,
            tenant_client(operator, tenant) as own,
        ):
            fields = {"name": name, "metrics": metrics}
            return await call(own, "POST", "/v1/adapters", data=fields, files=files)
