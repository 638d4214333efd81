"""Multipart forms, taken apart as they come: fields are small and are kept, files go elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from isolation.errors import InvalidRequestError

_MAX_FIELD, _MAX_FIELDS = 4_096, 256
# Of a part's headers, all together; each has a call of its own.
_MAX_HEADERS_BYTES, _MAX_HEADERS = 8_192, 16


class FormReader(ABC):
    """One form. What it does with files, subclasses say."""

    def __init__(self, content_type: str) -> None:
        self.fields: dict[str, list[str]] = {}
        self._header, self._value = b"", b""
        self._disposition = b""
        self._headers, self._headers_bytes = 0, 0
        self._field: str | None = None
        self._text = b""
        self._ended = False
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequestError("The body is no multipart form, or has no boundary.")
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

    @abstractmethod
    def file_begins(self, field: str, name: str) -> None:
        """A file, called `name` by the caller, in the field `field`."""

    @abstractmethod
    def file_data(self, data: bytes) -> None:
        """More of the file that began."""

    @abstractmethod
    def file_ends(self) -> None:
        """The file that began is whole."""

    def one(self, name: str) -> str | None:
        """A field's value, if it is there.

        Raises:
            InvalidRequestError: it is there more than once.
        """
        return one_of(self.fields, name)

    async def read(self, request: Request) -> None:
        """Read the whole form.

        Raises:
            InvalidRequestError: it is broken, cut short, or has too long or too many fields.
        """
        try:
            async for block in request.stream():
                self._parser.write(block)
        except FormParserError:
            self._ended = False
        if not self._ended:
            raise InvalidRequestError("The form is broken, or was cut short.")

    def _part_begin(self) -> None:
        self._disposition, self._field, self._text = b"", None, b""
        self._headers, self._headers_bytes = 0, 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, length: int) -> None:
        self._headers_bytes += length
        if self._headers_bytes > _MAX_HEADERS_BYTES or self._headers > _MAX_HEADERS:
            raise InvalidRequestError("The form is broken: a part begins with too much.")

    def _header_end(self) -> None:
        self._headers += 1
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        name = options.get(b"name", b"").decode(errors="replace")
        if b"filename" in options:
            self.file_begins(name, options[b"filename"].decode(errors="replace"))
            return
        if sum(map(len, self.fields.values())) >= _MAX_FIELDS:
            raise InvalidRequestError("The form has too many fields.")
        self._field = name

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self.file_data(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _MAX_FIELD:
            raise InvalidRequestError("A field of the form is too long.")

    def _part_end(self) -> None:
        if self._field is None:
            self.file_ends()
        else:
            self.fields.setdefault(self._field, []).append(self._text.decode(errors="replace"))

    def _form_end(self) -> None:
        self._ended = True


def one_of(fields: dict[str, list[str]], name: str) -> str | None:
    """The one value of a field, if it is there.

    Raises:
        InvalidRequestError: it is there more than once.
    """
    values = fields.get(name, [])
    if len(values) > 1:
        raise InvalidRequestError(f"Send the field '{name}' once.", param=name)
    return values[0] if values else None
