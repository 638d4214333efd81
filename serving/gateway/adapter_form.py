"""An adapter's upload: a form with two files, which go to private memory and never to a disk."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request

from isolation.errors import InvalidRequestError
from serving.adapters.checks import FILES
from serving.adapters.errors import AdapterFilesError, AdapterTooLargeError
from serving.gateway.forms import FormReader

_FIELDS = frozenset(("name", "metrics"))


async def read_adapter_form(request: Request, folder: Path, limit: int) -> FormReader:
    """Write the form's files into `folder`, at most `limit` bytes in all; its fields are in what
    is returned.

    Raises:
        InvalidRequestError: it is no form, cut short, or has an unknown field.
        AdapterFilesError: it has another file, or one twice.
        AdapterTooLargeError: there is more; the rest is not read.
    """
    form = _AdapterForm(request.headers.get("content-type", ""), folder, limit)
    try:
        await form.read(request)
    finally:
        form.file_ends()
    if unknown := set(form.fields) - _FIELDS:
        known = ", ".join(sorted(_FIELDS))
        raise InvalidRequestError(f"The fields are {known}.", param=min(unknown))
    return form


class _AdapterForm(FormReader):
    def __init__(self, content_type: str, folder: Path, limit: int) -> None:
        super().__init__(content_type)
        self._folder = folder
        self._limit = limit
        self._left = limit
        self._file: BinaryIO | None = None

    def file_begins(self, field: str, name: str) -> None:
        # Compared, and never used as a path: whatever else it says names no file here.
        if name not in FILES or (self._folder / name).exists():
            raise AdapterFilesError(f"Send the files {' and '.join(FILES)}, each once.")
        self._file = (self._folder / name).open("xb")

    def file_data(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise AdapterTooLargeError(self._limit)
        assert self._file is not None
        self._file.write(data)

    def file_ends(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
