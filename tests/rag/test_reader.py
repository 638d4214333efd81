"""Each format is read with its structure; what is broken is refused by name alone."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pypdf import PdfWriter

from rag.errors import DocumentUnreadableError
from rag.reading.limits import ReadingLimits
from rag.reading.reader import read_bytes, read_file
from tests.rag.pdfs import pdf


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
    assert text.split("\n\n") == ["# Rates", "Per parcel.", "Zone: A; Price: 4.90"]


def test_a_csv_row_is_read_without_its_header() -> None:
    text = read_bytes("rates.csv", b"zone,price\nA,4.90\nB,7.90\n", "rates.csv").text
    assert text.splitlines() == ["zone: A; price: 4.90", "zone: B; price: 7.90"]


def test_a_pdf_gives_its_text() -> None:
    assert "Warranty is 5 years" in read_bytes("w.pdf", pdf(["Warranty is 5 years"]), "w").text


def test_a_page_loses_its_running_header_and_footer_and_keeps_what_is_its_own() -> None:
    pages = [["Acme Handbook", f"Chapter {n} says {n * 7}.", f"Page {n} of 4"] for n in range(1, 5)]
    text = read_bytes("book.pdf", pdf(*pages), "book").text
    assert "Handbook" not in text
    assert "Page" not in text
    assert [f"Chapter {n} says {n * 7}." in text for n in range(1, 5)] == [True] * 4


def test_two_pages_are_too_few_to_know_a_header() -> None:
    text = read_bytes("book.pdf", pdf(["Acme", "one"], ["Acme", "two"]), "book").text
    assert text.count("Acme") == 2


def test_a_word_that_a_line_cut_is_whole_and_a_compound_stays() -> None:
    text = read_bytes("w.pdf", pdf(["The guaran-", "tee covers e-", "Bikes."]), "w").text
    assert "guarantee" in text
    assert "e-\nBikes" in text


def test_front_matter_is_metadata_and_no_text() -> None:
    matter = (
        b"---\ntitle: Returns\nlang: en\nSince: 2024-05-01\ntags: [a, b]\nnested: {a: 1}\n---\n"
    )
    document = read_bytes("r.md", matter + b"# Other\n\n30 days", "r.md")
    assert (document.title, document.text) == ("Returns", "# Other\n\n30 days")
    assert document.metadata == {"lang": "en", "since": "2024-05-01", "tags": "a, b"}


GERMAN = "Rücksendungen sind möglich. Größere Geräte holen wir ab; die Gebühr beträgt 5 Euro. "
CZECH = "Zboží lze vrátit do 30 dnů od nákupu. Větší spotřebiče si vyzvedneme. "
JAPANESE = "返品は購入後30日以内に可能です。大型家電は引き取ります。"
POLISH = "Zwroty są przyjmowane w ciągu 30 dni. Większe urządzenia odbieramy, opłata wynosi 20 zł. "
TURKISH = "İadeler satın alma tarihinden itibaren 30 gün içinde kabul edilir. "
RUSSIAN = "Возврат возможен в течение 30 дней после покупки. Крупные приборы мы забираем. "


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN * 3, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
    ],
    ids=lambda value: value if value.isascii() else "",
)
def test_an_encoding_that_can_be_told_is_read(text: str, encoding: str) -> None:
    assert read_bytes("a.txt", text.encode(encoding), "a").text == text.strip()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("Price £5", "cp1252"), (POLISH, "iso8859-2"), (CZECH, "iso8859-2"), (JAPANESE, "shift_jis")],
    ids=lambda value: value if value.isascii() else "",
)
def test_an_encoding_that_cannot_be_told_is_refused_and_not_guessed(
    text: str, encoding: str
) -> None:
    with pytest.raises(DocumentUnreadableError, match="UTF-8"):
        read_bytes("a.txt", text.encode(encoding), "a")


def test_an_encoding_that_is_stated_is_believed(tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "text"
    source.write_bytes(POLISH.encode("iso8859-2"))
    read_file(source, "a.txt", target, ReadingLimits(), "iso8859-2")
    assert target.read_text() == POLISH
    with pytest.raises(DocumentUnreadableError):
        read_file(source, "a.txt", target, ReadingLimits(), "no-such-encoding")


@pytest.mark.parametrize("encoding", ["cp1250", "cp1254", "iso8859-2", "iso8859-9"])
@pytest.mark.parametrize("text", [POLISH, CZECH, TURKISH, GERMAN], ids=["pl", "cs", "tr", "de"])
@pytest.mark.parametrize("times", [1, 7])
def test_no_text_is_taken_for_what_it_is_not(text: str, encoding: str, times: int) -> None:
    try:
        data = (text * times).encode(encoding)
    except UnicodeEncodeError:
        pytest.skip("the encoding has no such letters")
    try:
        found = read_bytes("a.txt", data, "a").text
    except DocumentUnreadableError:
        return
    assert found == (text * times).strip()


def test_a_page_is_read_in_the_encoding_that_it_declares() -> None:
    page = '<html><head><meta charset="iso-8859-2"></head><body><p>Zażółć</p></body></html>'
    assert read_bytes("a.html", page.encode("iso8859-2"), "a").text == "Zażółć"


def test_a_table_with_semicolons_and_empty_cells_is_read() -> None:
    text = read_bytes("r.csv", b"zone;price;note\nA;4,90;\n;;\nB;7,90;bulky\n", "r").text
    assert text.splitlines() == ["zone: A; price: 4,90", "zone: B; price: 7,90; note: bulky"]


def test_an_encrypted_pdf_is_refused() -> None:
    writer, locked = PdfWriter(io.BytesIO(pdf(["secret"]))), io.BytesIO()
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
