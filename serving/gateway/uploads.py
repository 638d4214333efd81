"""Files in request bodies, streamed to disk: what a caller sends never stands in memory whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from isolation.errors import InvalidRequestError
from rag.spool import Spool
from serving.errors import PayloadTooLargeError

_MAX_FIELD, _MAX_FIELDS = 4_096, 256
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
        values = self.fields.get(name, [])
        if len(values) > 1:
            raise InvalidRequestError(f"Send the field '{name}' once.", param=name)
        return values[0] if values else None


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


class _Form:
    """Takes a form apart as it comes: the file goes to `out`, fields are small and are kept."""

    def __init__(self, content_type: str, out: IO[bytes], limit: int) -> None:
        self.name: str | None = None
        self.fields: dict[str, list[str]] = {}
        self._out = out
        self._limit = limit
        self._header, self._value = b"", b""
        self._disposition = b""
        self._field: str | None = None
        self._text = b""
        self._ended = False
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise InvalidRequestError("The form has no boundary.")
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._form_end,
            },
        )

    async def read(self, request: Request) -> None:
        try:
            async for block in request.stream():
                self._parser.write(block)
        except FormParserError:
            self._ended = False
        if not self._ended:
            raise InvalidRequestError("The form is broken, or was cut short.")

    def _part_begin(self) -> None:
        self._disposition, self._field, self._text = b"", None, b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        name = options.get(b"name", b"").decode(errors="replace")
        if b"filename" not in options:
            if sum(map(len, self.fields.values())) >= _MAX_FIELDS:
                raise InvalidRequestError("The form has too many fields.")
            self._field = name
            return
        if name != "file" or self.name is not None or not options[b"filename"]:
            raise InvalidRequestError("Send one file in the field 'file'.", param="file")
        self.name = options[b"filename"].decode(errors="replace")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            if self._out.tell() + end - start > self._limit:
                raise PayloadTooLargeError(self._limit)
            self._out.write(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _MAX_FIELD:
            raise InvalidRequestError("A field of the form is too long.")

    def _form_end(self) -> None:
        self._ended = True

    def _part_end(self) -> None:
        if self._field is not None:
            self.fields.setdefault(self._field, []).append(self._text.decode(errors="replace"))
