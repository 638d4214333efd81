"""Multipart forms as other libraries write them, in any blocks, whatever their files hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from isolation.errors import InvalidRequestError
from serving.gateway.forms import FormReader

BOUNDARY = b"B0B"
# What looks like a boundary, and is none.
_DATA = st.lists(
    st.sampled_from([b"\r\n--", b"\r", b"\n", b"-", b"B0", b"B0B", b"\r\n--B0", b"x", b"\r\n\r\n"]),
    max_size=12,
).map(b"".join)
_FILES = st.lists(_DATA.filter(lambda data: b"\r\n--" + BOUNDARY not in data), max_size=3)


class Form(FormReader):
    def __init__(self, content_type: str) -> None:
        super().__init__(content_type)
        self.files: list[tuple[str, str, bytearray]] = []
        self.ended = 0

    def file_begins(self, field: str, name: str) -> None:
        self.files.append((field, name, bytearray()))

    def file_data(self, data: bytes) -> None:
        self.files[-1][2].extend(data)

    def file_ends(self) -> None:
        self.ended += 1


class _Blocks:
    """A request whose body comes in these blocks."""

    def __init__(self, body: bytes, size: int) -> None:
        self._blocks = [body[begin : begin + size] for begin in range(0, len(body), size)]

    async def stream(self) -> AsyncGenerator[bytes, None]:
        for block in self._blocks:
            yield block


def _read(body: bytes, size: int, boundary: bytes = BOUNDARY) -> Form:
    form = Form(f"multipart/form-data; boundary={boundary.decode()}")
    asyncio.run(form.read(cast("Request", _Blocks(body, size))))
    return form


def _part(disposition: str, data: bytes) -> bytes:
    headers = f"Content-Disposition: form-data; {disposition}\r\nContent-Type: text/plain".encode()
    return b"--" + BOUNDARY + b"\r\n" + headers + b"\r\n\r\n" + data + b"\r\n"


_END = b"--" + BOUNDARY + b"--\r\n"


@given(_FILES, st.integers(1, 40))
def test_files_are_what_was_sent(files: list[bytes], size: int) -> None:
    parts = [_part(f'name="file"; filename="{n}"', data) for n, data in enumerate(files)]
    form = _read(_part('name="id"', b"one") + b"".join(parts) + _END, size)
    assert [bytes(data) for _, _, data in form.files] == files
    assert form.ended == len(files)
    assert form.fields == {"id": ["one"]}


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_another_library_writes_is_read(size: int) -> None:
    sent = httpx.Request(
        *("POST", "http://x"),
        files=[("file", ("a é.md", b"# A\r\n\r\ntext")), ("file", ("empty", b""))],
        data={"id": "a/b", "groups": ["vip", "staff"]},
    )
    boundary = sent.headers["content-type"].partition("boundary=")[2].encode()
    form = _read(sent.read(), size, boundary)
    assert form.fields == {"id": ["a/b"], "groups": ["vip", "staff"]}
    assert [bytes(data) for _, _, data in form.files] == [b"# A\r\n\r\ntext", b""]


@given(st.integers(0, 150), st.integers(1, 40))
def test_a_form_that_is_cut_short_is_refused(cut: int, size: int) -> None:
    whole = _part('name="file"; filename="f"', b"data") + _END
    body = whole[: len(whole) - 2][:cut]
    if body.endswith(b"--" + BOUNDARY + b"--"):
        return
    with pytest.raises(InvalidRequestError):
        _read(body, size)


@pytest.mark.parametrize(
    "body",
    [
        b"no form",
        b"--OTHER\r\n\r\nx",
        b"--B0B\r\n" + b"a: b\r\n" * 5_000 + b"\r\n\r\n",
        b"--B0B\r\n" + b"a" * 20_000,
        _part('name="id"', b"x" * 5_000) + _END,
        _part('name="id"', b"x") * 300 + _END,
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        _read(body, 1_000)
