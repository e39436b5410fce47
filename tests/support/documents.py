"""Small PDF and DOCX files."""

import io
import zipfile
from collections.abc import Sequence

CONTENT_TYPES = '<Types><Override ContentType="application/vnd.ms-word.document.main+xml"/></Types>'
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def make_pdf(pages: Sequence[str], *, stream: bytes | None = None, filters: str = "") -> bytes:
    """Return a PDF with a line per page. `stream` replaces the content of the first page."""
    contents = [f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode() for text in pages]
    if stream is not None:
        contents[0] = stream
    kids = " ".join(f"{number} 0 R" for number in range(4, 4 + 2 * len(pages), 2))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, content in enumerate(contents):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        applied = filters if content is stream else ""
        head = f"<< /Length {len(content)} {applied} >>".encode()
        objects.append(b"%b\nstream\n%b\nendstream" % (head, content))
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, xref)
    return bytes(out)


def make_docx(body: str, *, prolog: str = "", **members: str) -> bytes:
    """Return a DOCX file. `body` is the XML in its body, or plain text."""
    if not body.startswith("<"):
        body = f"<w:p><w:r><w:t>{body}</w:t></w:r></w:p>"
    document = f'{prolog}<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {
            "[Content_Types].xml": CONTENT_TYPES,
            "word/document.xml": document,
            **members,
        }.items():
            archive.writestr(name, text)
    return out.getvalue()
