"""`/`: the chat page. Everything it shows goes through the API that any client uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse

from serving.gateway.dependencies import Parts
from serving.gateway.origin import is_own_page_on_loopback, require_page_host

_FOLDER = Path(__file__).parents[1] / "page"
_FILES = {
    "chat.css": "text/css; charset=utf-8",
    "chat.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
}
# Nothing inline, nothing from elsewhere, in no frame: a document that holds markup stays text.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


async def _own_host(request: Request, parts: Parts) -> None:
    require_page_host(request, parts.settings.allowed_hosts)


router = APIRouter(dependencies=[Depends(_own_host)])


@router.get("/")
async def chat_page() -> FileResponse:
    """The page."""
    return _file("index.html", "text/html; charset=utf-8")


@router.post("/page/demo")
async def demo(request: Request, parts: Parts) -> dict[str, Any]:
    """The demo merchants and their keys, for our own page in a browser on this machine.

    Everyone else is told that there is no such route, as is everyone where no demo runs.
    """
    merchants = parts.demo()
    if not merchants or not is_own_page_on_loopback(request):
        raise HTTPException(404)
    return {"data": [{"id": tenant.id, "api_key": tenant.api_key} for tenant in merchants]}


@router.get("/page/{name}")
async def page_file(name: str) -> FileResponse:
    """A part of the page."""
    if name not in _FILES:
        raise HTTPException(404)
    return _file(name, _FILES[name])


def _file(name: str, media_type: str) -> FileResponse:
    return FileResponse(_FOLDER / name, headers=_HEADERS, media_type=media_type)
