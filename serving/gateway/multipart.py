"""Files of a multipart body, written to a folder as they arrive.

Starlette's own form parser spools to a disk; adapters' weights may not touch one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from isolation.errors import InvalidRequestError
from serving.adapters.errors import AdapterFilesError, AdapterTooLargeError

_MOST_FIELD_BYTES = 4_096


class _Parts:
    """What the parser calls: files go to the folder, fields stay in memory."""

    def __init__(self, folder: Path, files: Collection[str], fields: Collection[str]) -> None:
        self.fields: dict[str, bytes] = {}
        self.ended = False
        self._folder = folder
        self._files = files
        self._known = fields
        self._header, self._value = b"", b""
        self._disposition: tuple[bytes, dict[bytes, bytes]] = (b"", {})
        self._file: BinaryIO | None = None
        self._field = ""

    def on_part_begin(self) -> None:
        self._disposition = (b"", {})

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = parse_options_header(self._value)
        self._header, self._value = b"", b""

    def on_headers_finished(self) -> None:
        options = self._disposition[1]
        if b"filename" in options:
            self._open(options[b"filename"].decode(errors="replace"))
            return
        self._field = options.get(b"name", b"").decode(errors="replace")
        if self._field not in self._known or self._field in self.fields:
            known = ", ".join(sorted(self._known))
            raise InvalidRequestError(f"The form has the fields {known}, each once, and files.")
        self.fields[self._field] = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self.fields[self._field] += data[start:end]
        if len(self.fields[self._field]) > _MOST_FIELD_BYTES:
            raise InvalidRequestError(f"{self._field}: it is too long.", param=self._field)

    def on_part_end(self) -> None:
        self.close()

    def on_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, name: str) -> None:
        # Compared and never used as a path: whatever else it says names no file here.
        if name not in self._files or (self._folder / name).exists():
            expected = " and ".join(self._files)
            raise AdapterFilesError(f"Send the files {expected}, by these names, each once.")
        self._file = (self._folder / name).open("xb")


async def receive_files(
    request: Request,
    folder: Path,
    *,
    files: Collection[str],
    fields: Collection[str],
    limit: int,
) -> dict[str, bytes]:
    """Write the body's files into `folder`, at most `limit` bytes in all; its fields.

    Raises:
        InvalidRequestError: it is no multipart form, cut short, or has an unknown field.
        AdapterFilesError: it has another file, or one twice.
        AdapterTooLargeError: there is more; the rest is not read.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidRequestError("Send multipart/form-data.")
    parts, size = _Parts(folder, files, fields), 0
    try:
        names = [name for name in dir(parts) if name.startswith("on_")]
        parser = MultipartParser(
            options[b"boundary"],
            {name: getattr(parts, name) for name in names},  # type: ignore[arg-type]
        )
        async for block in request.stream():
            size += len(block)
            if size > limit:
                raise AdapterTooLargeError(limit)
            parser.write(block)
        parser.finalize()
    except MultipartParseError:
        raise InvalidRequestError("The form is malformed.") from None
    finally:
        parts.close()
    if not parts.ended:
        raise InvalidRequestError("The form was cut short.")
    return parts.fields
