"""Documents of users: their text, and every kind of file that is rejected."""

import asyncio
import io
import zlib
from collections.abc import Callable

import pytest
import uvloop
from pypdf import PdfReader, PdfWriter

from coach_ai.process_sandbox import inherit_environment
from coach_ai.profile.document_parser import (
    MAX_DOCUMENT_BYTES,
    DocumentFormat,
    DocumentParser,
    DocumentRejected,
    parse_media_type,
)
from coach_ai.profile.document_process import MAX_PAGES, MAX_TEXT_CHARACTERS
from support.documents import CONTENT_TYPES, make_docx, make_pdf

TEXT = "I led the move of our billing service to Kubernetes."


def _encrypt(content: bytes) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(content)))
    writer.encrypt("secret", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _make_pdf_bomb() -> bytes:
    bomb = zlib.compress(zlib.compress(bytes(80_000_000), 1))
    return make_pdf([""], stream=bomb, filters="/Filter [/FlateDecode /FlateDecode]")


def _mark_encrypted(content: bytes) -> bytes:
    """Set the flag of an encrypted member in the headers of a zip archive."""
    changed = bytearray(content)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(magic)
        while at >= 0:
            changed[at + offset] |= 1
            at = changed.find(magic, at + 4)
    return bytes(changed)


ENTITY = '<!DOCTYPE w [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
BILLION = '<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
MACROS = CONTENT_TYPES.replace("main+xml", "macroEnabled.main+xml")


async def test_text_of_a_pdf_is_read() -> None:
    parsed = await DocumentParser().parse(DocumentFormat.PDF, make_pdf([TEXT, "Second page."]))

    assert (parsed.text, parsed.pages, parsed.is_truncated) == (f"{TEXT}\nSecond page.", 2, False)


async def test_text_of_a_docx_is_read_in_its_order() -> None:
    row = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Skills</w:t><w:tab/><w:t>SQL</w:t></w:r></w:p>"
    body = (
        f"<w:p><w:r><w:t>{TEXT[:10]}</w:t></w:r><w:r><w:t>{TEXT[10:]}</w:t></w:r></w:p>"
        f"{row}</w:tc></w:tr></w:tbl>"
        '<w:p><w:r><w:br w:type="page"/><w:t>Deleted\x85words.</w:t><w:delText>x</w:delText>'
        "</w:r></w:p>"
    )

    parsed = await DocumentParser().parse(DocumentFormat.DOCX, make_docx(body))

    assert parsed.text == f"{TEXT}\nSkills SQL\n\nDeleted\nwords."
    assert parsed.pages == 2


async def test_rest_of_a_long_text_is_left_out() -> None:
    content = make_docx("word " * (MAX_TEXT_CHARACTERS // 4))

    parsed = await DocumentParser().parse(DocumentFormat.DOCX, content)

    assert len(parsed.text) <= MAX_TEXT_CHARACTERS
    assert parsed.is_truncated


@pytest.mark.parametrize(
    ("document_format", "content", "problem"),
    [
        pytest.param("pdf", b"hello", "is not a PDF file", id="pdf-other-type"),
        pytest.param("pdf", make_docx(TEXT), "is not a PDF file", id="pdf-is-docx"),
        pytest.param("pdf", b"%PDF-1.4 nothing", "is damaged", id="pdf-damaged"),
        pytest.param("pdf", make_pdf([TEXT])[:200], "is damaged", id="pdf-cut"),
        pytest.param("pdf", make_pdf(["a"] * (MAX_PAGES + 1)), "has 21 pages", id="pdf-pages"),
        pytest.param("pdf", make_pdf([""]), "contains no text", id="pdf-scanned"),
        pytest.param("pdf", _encrypt(make_pdf([TEXT])), "is encrypted", id="pdf-encrypted"),
        pytest.param(
            "pdf",
            _make_pdf_bomb,
            "unpacks to too much",
            id="pdf-bomb",
        ),
        pytest.param("docx", make_pdf([TEXT]), "is not a DOCX file", id="docx-is-pdf"),
        pytest.param("docx", b"PK\x03\x04nothing", "is damaged", id="docx-damaged"),
        pytest.param("docx", b"\xd0\xcf\x11\xe0" + bytes(600), "old format", id="docx-ole"),
        pytest.param("docx", _mark_encrypted(make_docx(TEXT)), "encrypted", id="docx-encrypted"),
        pytest.param(
            "docx",
            make_docx(TEXT, **{"[Content_Types].xml": MACROS}),
            "contains macros",
            id="docx-macro-type",
        ),
        pytest.param(
            "docx", make_docx(TEXT, **{"word/vbaProject.bin": "x"}), "macros", id="docx-macros"
        ),
        pytest.param("docx", make_docx(TEXT, prolog=ENTITY), "XML entities", id="docx-entity"),
        pytest.param("docx", make_docx("&b;", prolog=BILLION), "XML entities", id="docx-laughs"),
        pytest.param("docx", make_docx("<w:p>"), "is damaged", id="docx-xml"),
        pytest.param("docx", make_docx("<w:p/>"), "contains no text", id="docx-empty"),
        pytest.param(
            "docx",
            make_docx('<w:p><w:r><w:br w:type="page"/></w:r></w:p>' * 20),
            "has 21 pages",
            id="docx-pages",
        ),
        pytest.param(
            "docx",
            lambda: make_docx(TEXT, **{"word/media/a.png": "0" * (65 * 1024**2)}),
            "unpacks to more than 64 MiB",
            id="docx-bomb",
        ),
        pytest.param(
            "docx",
            lambda: make_docx("a" * (9 * 1024**2)),
            "more than 8 MiB of text",
            id="docx-huge-text",
        ),
        pytest.param(
            "docx",
            lambda: make_docx(TEXT, **{f"a{number}": "" for number in range(2_000)}),
            "more than 2000 parts",
            id="docx-parts",
        ),
    ],
)
async def test_document_is_rejected_with_its_problem(
    document_format: str, content: bytes | Callable[[], bytes], problem: str
) -> None:
    content = content() if callable(content) else content

    with pytest.raises(DocumentRejected, match=problem):
        await DocumentParser().parse(DocumentFormat(document_format), content)


async def test_process_is_limited_in_processor_time_and_memory() -> None:
    content = make_pdf([""], stream=b"BT (a) Tj ET " * 1_500_000)

    with pytest.raises(DocumentRejected, match="takes too long to read"):
        await DocumentParser(processor_seconds=1).parse(DocumentFormat.PDF, content)
    with pytest.raises(DocumentRejected, match="memory"):
        await DocumentParser(memory_bytes=48 * 1024**2).parse(
            DocumentFormat.DOCX, make_docx("a" * (7 * 1024**2))
        )


def test_process_gets_no_secret() -> None:
    given = {"OPENAI_API_KEY": "k", "SERVICE_TOKEN": "t", "DATABASE_URL": "u", "PATH": "/bin"}

    assert inherit_environment(given) == {"PATH": "/bin"}


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/msword"])
def test_other_media_types_are_rejected(media_type: str) -> None:
    with pytest.raises(DocumentRejected, match="must be a PDF or DOCX file"):
        parse_media_type(media_type)
    assert parse_media_type("Application/PDF; name=a") is DocumentFormat.PDF


def test_process_may_exit_before_it_reads_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coach_ai.profile.document_parser.sys.executable", "/bin/false")
    parse = DocumentParser().parse
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(10):
            with pytest.raises(DocumentRejected):
                runner.run(parse(DocumentFormat.PDF, b"x" * MAX_DOCUMENT_BYTES))
