"""Reads the text of a PDF or DOCX file in a process that has given up what it does not need.

`python -m coach_ai.profile.document_process FORMAT MEMORY_BYTES PROCESSOR_SECONDS` reads the file
from stdin and writes one line of JSON to stdout: `text`, `pages` and `is_truncated`, or `error`.
"""

import io
import json
import resource
import sys
import zipfile
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from pypdf import PdfReader
from pypdf.errors import LimitReachedError

from coach_ai.process_sandbox import exit_with_parent, leave_network, limit_resources

MAX_PAGES = 20
MAX_TEXT_CHARACTERS = 20_000
"""The rest of a longer text is left out."""

_MAX_OPEN_FILES = 64
_MAX_ZIP_MEMBERS = 2_000
_MAX_UNPACKED_BYTES = 64 * 1024**2
"""All members of a DOCX file. Its images are never unpacked."""
_MAX_XML_BYTES = 8 * 1024**2
_DOCUMENT, _CONTENT_TYPES = "word/document.xml", "[Content_Types].xml"
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0"


class DocumentError(Exception):
    """The file cannot be read. The message completes the sentence "The file …"."""


def read_pdf(content: bytes) -> tuple[str, int]:
    """Return the text and the number of pages. Raises DocumentError."""
    if b"%PDF-" not in content[:1024]:
        raise DocumentError("is not a PDF file, but was sent as one.")
    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted:
        raise DocumentError("is encrypted. Save it without a password.")
    pages = len(reader.pages)
    _check_pages(pages)
    texts: list[str] = []
    characters = 0
    for page in reader.pages:
        texts.append(page.extract_text())
        characters += len(texts[-1])
        if characters > MAX_TEXT_CHARACTERS:
            break
    return "\n".join(texts), pages


def read_docx(content: bytes) -> tuple[str, int]:
    """Return the text and the number of pages, as far as the file tells. Raises DocumentError."""
    if content.startswith(_OLE_MAGIC):
        raise DocumentError("is encrypted or an old format. Save it as .docx without a password.")
    if not content.startswith(b"PK"):
        raise DocumentError("is not a DOCX file, but was sent as one.")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        names = {one.filename for one in members}
        if len(members) > _MAX_ZIP_MEMBERS:
            raise DocumentError(f"has more than {_MAX_ZIP_MEMBERS} parts.")
        if any(one.flag_bits & 1 for one in members):
            raise DocumentError("is encrypted. Save it without a password.")
        if sum(one.file_size for one in members) > _MAX_UNPACKED_BYTES:
            raise DocumentError(f"unpacks to more than {_MAX_UNPACKED_BYTES // 1024**2} MiB.")
        if not {_DOCUMENT, _CONTENT_TYPES} <= names:
            raise DocumentError("is not a DOCX file, but was sent as one.")
        types = _read_member(archive, _CONTENT_TYPES)
        if b"macroEnabled" in types or any("vbaproject" in name.lower() for name in names):
            raise DocumentError("contains macros. Save it as .docx without macros.")
        body = _parse_xml(_read_member(archive, _DOCUMENT))
    pages = 1 + max(
        sum(one.get(f"{_WORD}type") == "page" for one in body.iter(f"{_WORD}br")),
        sum(1 for _ in body.iter(f"{_WORD}lastRenderedPageBreak")),
    )
    _check_pages(pages)
    return "".join(_list_texts(body)), pages


def read_document(document_format: str, content: bytes) -> dict[str, object]:
    """Return the response to the parent. Every failure of a parser becomes an `error`."""
    try:
        text, pages = (read_pdf if document_format == "pdf" else read_docx)(content)
        text = _clean(text)
        if not text:
            raise DocumentError("contains no text. Scanned pages cannot be read.")
    except DocumentError as error:
        return {"error": str(error)}
    except LimitReachedError:
        return {"error": "unpacks to too much data."}
    except MemoryError:
        return {"error": "needs too much memory."}
    except DefusedXmlException:
        return {"error": "contains XML entities or a document type, which are not allowed."}
    # The parsers raise errors of many kinds for files that are damaged on purpose.
    except Exception:
        return {"error": "is damaged and cannot be read."}
    return {
        "text": text[:MAX_TEXT_CHARACTERS].strip(),
        "pages": pages,
        "is_truncated": len(text) > MAX_TEXT_CHARACTERS,
    }


def main(document_format: str, memory_bytes: str, processor_seconds: str) -> None:
    """Read one file and exit."""
    exit_with_parent()
    leave_network()
    limit_resources(memory_bytes=int(memory_bytes), open_files=_MAX_OPEN_FILES, file_bytes=0)
    resource.setrlimit(resource.RLIMIT_CPU, (int(processor_seconds), int(processor_seconds) + 1))
    response = read_document(document_format, sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(response) + "\n")


def _check_pages(pages: int) -> None:
    if pages > MAX_PAGES:
        raise DocumentError(f"has {pages} pages. At most {MAX_PAGES} are read.")


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member. Its declared size is not trusted."""
    with archive.open(name) as stream:
        content = stream.read(_MAX_XML_BYTES + 1)
    if len(content) > _MAX_XML_BYTES:
        raise DocumentError(f"contains more than {_MAX_XML_BYTES // 1024**2} MiB of text.")
    return content


def _parse_xml(content: bytes) -> Element:
    root: Element = ElementTree.fromstring(content, forbid_dtd=True)
    return root


def _list_texts(body: Element) -> Iterator[str]:
    """Yield the texts of the document in their order, without recursion."""
    remaining: list[Element | str] = [body]
    while remaining:
        element = remaining.pop()
        if isinstance(element, str):
            yield element
        elif element.tag == f"{_WORD}t":
            yield element.text or ""
        elif element.tag == f"{_WORD}tab":
            yield " "
        elif element.tag in (f"{_WORD}br", f"{_WORD}cr"):
            yield "\n"
        elif element.tag != _FALLBACK:
            if element.tag == f"{_WORD}p":
                remaining.append("\n")
            remaining.extend(reversed(element))


def _clean(text: str) -> str:
    """Return the text without control characters, and with single spaces and empty lines."""
    lines = ("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines())
    plain = "\n".join(" ".join(line.split()) for line in lines).encode("utf-8", "ignore").decode()
    while "\n\n\n" in plain:
        plain = plain.replace("\n\n\n", "\n\n")
    return plain.strip()


if __name__ == "__main__":
    main(*sys.argv[1:])
