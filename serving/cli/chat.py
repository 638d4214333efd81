"""`bulkhead chat TENANT QUESTION`: an answer in the terminal, streamed, with its sources."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import httpx
import orjson
import typer

from serving.cli.client import CallFailedError, operator_client, refusal, tenant_client
from serving.cli.output import out
from serving.settings import load_settings


def command(
    tenant: str,
    question: str,
    url: Annotated[str | None, typer.Option(help="A gateway elsewhere.")] = None,
) -> None:
    """Ask a tenant's documents."""
    asyncio.run(_chat(tenant, question, url))


async def _chat(tenant: str, question: str, url: str | None) -> None:
    body = {
        "model": "base",
        "stream": True,
        "messages": [{"role": "user", "content": question}],
    }
    citations: list[dict[str, Any]] = []
    async with (
        operator_client(load_settings(), url, with_engine=True) as operator,
        tenant_client(operator, tenant) as own,
        own.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        if response.is_error:
            await response.aread()
            raise CallFailedError(refusal(response))
        async for event in _events(response):
            citations = event.get("citations", citations)
            for choice in event["choices"]:
                sys.stdout.write(choice["delta"].get("content", ""))
                sys.stdout.flush()
    sys.stdout.write("\n")
    for number, citation in enumerate(citations, 1):
        mark = "*" if citation["cited"] else " "
        out.print(f"{mark}[{number}] {citation['title']} ({citation['document_id']})", markup=False)


async def _events(response: httpx.Response) -> Any:
    async for line in response.aiter_lines():
        if line.startswith("data: {"):
            event = orjson.loads(line.removeprefix("data: "))
            if "error" in event:
                raise CallFailedError(f"{event['error']['message']} ({event['error']['code']})")
            yield event
