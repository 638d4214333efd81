"""Makes the merchants' PDF documents from the texts in `pdf_sources/`, with no library.

One page each, one line of text a line of the source, in Helvetica. The same text gives the same
bytes. Run it after a change: `python examples/merchants/make_pdfs.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent

_PAGE_WIDTH, _PAGE_HEIGHT, _MARGIN = 595, 842, 56  # A4, in points
_TITLE_SIZE, _TEXT_SIZE, _LEADING = 18, 11, 18


def make_all(root: Path = HERE) -> list[Path]:
    """Writes every merchant's PDFs; returns their paths."""
    made = []
    for source in sorted(root.glob("*/pdf_sources/*.txt")):
        target = source.parent.parent / "documents" / f"{source.stem}.pdf"
        target.write_bytes(pdf_of(source.read_text(encoding="utf-8").splitlines()))
        made.append(target)
    return made


def pdf_of(lines: Sequence[str]) -> bytes:
    """A PDF of one page; the first line is the title.

    Raises:
        ValueError: more lines than the page holds. A character outside Windows-1252 raises
            UnicodeEncodeError, which is a ValueError too.
    """
    room = (_PAGE_HEIGHT - 2 * _MARGIN) // _LEADING
    if not 1 <= len(lines) <= room:
        raise ValueError(f"A page holds 1 to {room} lines, not {len(lines)}.")
    content = _content(lines)
    return _file(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 5 0 R"
            b" /Resources << /Font << /F1 4 0 R >> >> >>" % (_PAGE_WIDTH, _PAGE_HEIGHT),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        ]
    )


def _content(lines: Sequence[str]) -> bytes:
    title, *body = (_string(line) for line in lines)
    parts = [
        b"BT",
        b"%d TL" % _LEADING,
        b"%d %d Td" % (_MARGIN, _PAGE_HEIGHT - _MARGIN - _TITLE_SIZE),
        b"/F1 %d Tf" % _TITLE_SIZE,
        title + b" Tj T*",
        b"/F1 %d Tf" % _TEXT_SIZE,
        *(line + b" Tj T*" for line in body),
        b"ET",
    ]
    return b"\n".join(parts)


def _string(text: str) -> bytes:
    raw = text.encode("cp1252")
    for special in (b"\\", b"(", b")"):
        raw = raw.replace(special, b"\\" + special)
    return b"(" + raw + b")"


def _file(objects: Sequence[bytes]) -> bytes:
    """The objects, numbered from 1, with the table of their byte offsets; the first is the root."""
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")  # high bytes: a binary file to other programs
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    out += b"startxref\n%d\n%%%%EOF\n" % table
    return bytes(out)


if __name__ == "__main__":
    for path in make_all():
        print(path.relative_to(HERE))
