"""Files in request bodies, streamed to disk: what a caller sends never stands in memory whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from starlette.requests import Request

from isolation.errors import InvalidRequestError
from rag.spool import Spool
from serving.errors import PayloadTooLargeError
from serving.gateway.forms import FormReader, one_of

# Another one may be a misspelt `groups`: then everybody would see the document.
_FIELDS = frozenset(("id", "groups", "encoding"))
# What a form adds to its file.
_OVERHEAD = 100_000


@dataclass(frozen=True, slots=True)
class FormUpload:
    """A file that lies at `path` while the request runs, and the form's other fields."""

    path: Path
    name: str
    fields: dict[str, list[str]] = field(default_factory=dict)

    def one(self, name: str) -> str | None:
        """The field's value, if it is there.

        Raises:
            InvalidRequestError: it is there more than once.
        """
        return one_of(self.fields, name)


@asynccontextmanager
async def form_upload(
    request: Request, spool: Spool, limit: int
) -> AsyncGenerator[FormUpload, None]:
    """The one file of a multipart form, in its field `file`, of at most `limit` bytes.

    Raises:
        PayloadTooLargeError: it is larger; the rest is not read.
        InvalidRequestError: it is no such form.
    """
    _check_declared(request, limit + _OVERHEAD)
    with spool.file() as path:
        with path.open("wb") as out:
            form = _Form(request.headers["content-type"], out, limit)
            await form.read(request)
        if form.name is None:
            raise InvalidRequestError("Send one file in the field 'file'.", param="file")
        if unknown := set(form.fields) - _FIELDS:
            raise InvalidRequestError(
                f"The fields are {', '.join(sorted(_FIELDS))}.", param=min(unknown)
            )
        yield FormUpload(path, form.name, form.fields)


@asynccontextmanager
async def raw_upload(request: Request, spool: Spool, limit: int) -> AsyncGenerator[Path, None]:
    """The whole body as a file, of at most `limit` bytes.

    Raises:
        PayloadTooLargeError: it is larger; the rest is not read.
    """
    _check_declared(request, limit)
    with spool.file() as path:
        with path.open("wb") as out:
            async for block in request.stream():
                if out.tell() + len(block) > limit:
                    raise PayloadTooLargeError(limit)
                out.write(block)
        yield path


def _check_declared(request: Request, limit: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise PayloadTooLargeError(limit)


class _Form(FormReader):
    """The one file goes to `out`."""

    def __init__(self, content_type: str, out: IO[bytes], limit: int) -> None:
        super().__init__(content_type)
        self.name: str | None = None
        self._out = out
        self._limit = limit

    def file_begins(self, field: str, name: str) -> None:
        if field != "file" or self.name is not None or not name:
            raise InvalidRequestError("Send one file in the field 'file'.", param="file")
        self.name = name

    def file_data(self, data: bytes) -> None:
        if self._out.tell() + len(data) > self._limit:
            raise PayloadTooLargeError(self._limit)
        self._out.write(data)

    def file_ends(self) -> None:
        """Its writer closes it."""
