"""Each format is read with its structure; what is broken is refused by name alone."""

from __future__ import annotations

import io

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pypdf import PdfWriter

from rag.errors import DocumentUnreadableError
from rag.reading.reader import read_bytes


def _pdf(text: str) -> bytes:
    """The smallest PDF with one line of text."""
    stream = f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    head = b"xref\n0 %d\n0000000000 65535 f \n" % size
    tail = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
    return out + head + table + tail


def test_markdown_and_text_are_taken_as_they_are() -> None:
    document = read_bytes("a/returns.md", b"\xef\xbb\xbf# Returns\n\n30 days", "returns.md")
    assert (document.title, document.text) == ("Returns", "# Returns\n\n30 days")
    assert read_bytes("store-hours.txt", b"Nine to five", "h").title == "Store hours"


def test_html_keeps_headings_and_tables_and_drops_the_noise() -> None:
    page = (
        b"<html><body><nav>Menu</nav><main><h1>Rates</h1><p>Per <b>parcel</b>.</p>"
        b"<table><tr><th>Zone</th><th>Price</th></tr><tr><td>A</td><td>4.90</td></tr></table>"
        b"<script>alert(1)</script></main><footer>Imprint</footer></body></html>"
    )
    text = read_bytes("rates.html", page, "rates.html").text
    assert text.split("\n\n") == ["# Rates", "Per parcel .", "Zone | Price", "A | 4.90"]


def test_a_csv_row_is_read_without_its_header() -> None:
    text = read_bytes("rates.csv", b"zone,price\nA,4.90\nB,7.90\n", "rates.csv").text
    assert text.splitlines() == ["zone: A; price: 4.90", "zone: B; price: 7.90"]


def test_a_pdf_gives_its_text() -> None:
    assert "Warranty is 5 years" in read_bytes("w.pdf", _pdf("Warranty is 5 years"), "w").text


def test_nothing_that_was_read_stays_in_the_process() -> None:
    read_bytes("returns.md", b"# Returns", "returns.md")
    assert "/document.md" not in MemoryFileSystem.store


def test_an_encrypted_pdf_is_refused() -> None:
    writer, locked = PdfWriter(io.BytesIO(_pdf("secret"))), io.BytesIO()
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(locked)
    with pytest.raises(DocumentUnreadableError, match=r"locked\.pdf"):
        read_bytes("locked.pdf", locked.getvalue(), "locked.pdf")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("broken.pdf", b"not a pdf"),
        ("empty.md", b" \n"),
        ("empty.csv", b"zone,price\n"),
        ("binary.txt", b"\xff\xfe\x00secret"),
        ("nul.txt", b"a\0secret"),
        ("program.exe", b"secret"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_never_quoted(name: str, data: bytes) -> None:
    with pytest.raises(DocumentUnreadableError) as caught:
        read_bytes(f"home/of/somebody/{name}", data, name)
    assert caught.value.message.startswith(f"{name}: ")
    assert "secret" not in caught.value.message
    assert "somebody" not in caught.value.message
