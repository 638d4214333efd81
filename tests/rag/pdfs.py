"""Small PDFs, good and hostile, object by object."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def pdf(*pages: Sequence[str]) -> bytes:
    """One page for each sequence of lines."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", FONT]
    kids = []
    for lines in pages:
        shown = b" ".join(f"({line}) Tj 0 -14 Td".encode() for line in lines)
        objects.append(stream(b"BT /F1 12 Tf 10 700 Td " + shown + b" ET"))
        objects.append(page(len(objects)))
        kids.append(len(objects))
    objects[1] = tree(kids)
    return assembled(objects)


def stream(content: bytes, *, deflated: bool = False) -> bytes:
    kind = b""
    if deflated:
        content, kind = zlib.compress(content, 1), b" /Filter /FlateDecode"
    return b"<< /Length %d%s >>\nstream\n%s\nendstream" % (len(content), kind, content)


def page(content: int) -> bytes:
    return (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R "
        b"/Resources << /Font << /F1 3 0 R >> >> >>" % content
    )


def tree(kids: Sequence[int]) -> bytes:
    references = b" ".join(b"%d 0 R" % kid for kid in kids)
    return b"<< /Type /Pages /Kids [%s] /Count %d >>" % (references, len(kids))


def assembled(objects: Sequence[bytes]) -> bytes:
    """A file of these objects, the first of which is the catalogue."""
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    head = b"xref\n0 %d\n0000000000 65535 f \n" % size
    tail = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
    return out + head + table + tail


def looping_tree() -> bytes:
    """A page tree that is its own child."""
    return assembled([b"<< /Type /Catalog /Pages 2 0 R >>", tree([2, 2])])


def expanding(size: int) -> bytes:
    """A page whose content expands to `size` bytes."""
    content = stream(b"BT (" + b"x" * size + b") Tj ET", deflated=True)
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", tree([5]), FONT, content, page(4)]
    return assembled(objects)


def nested(depth: int) -> bytes:
    """A page with an array of arrays of arrays."""
    deep = b"<< /Type /Page /Parent 2 0 R /X %s >>" % (b"[" * depth + b"]" * depth)
    return assembled([b"<< /Type /Catalog /Pages 2 0 R >>", tree([3]), deep])


def slow(pages: int, size: int) -> bytes:
    """Many pages that share one content, small in the file and long to read."""
    content = stream(b"BT /F1 12 Tf " + b"(word) Tj 0 -1 Td " * size + b"ET", deflated=True)
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", tree([5] * pages), FONT, content, page(4)]
    return assembled(objects)
