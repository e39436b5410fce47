"""Chained Ogg files (RFC 3533): several recordings, one after the other, in one file."""

import io
import os
from typing import BinaryIO

_PAGE = b"OggS"
_HEADER_BYTES = 27
_BEGIN_OF_STREAM = 0x02
_MAX_LINKS = 256


def split_links(file: BinaryIO) -> list[BinaryIO]:
    """Return each link of a chained Ogg file as a separate file.

    Any other file is returned as it is. After 256 links the rest counts as one.
    """
    begins = _find_links(file)
    if len(begins) < 2:
        return [file]
    ends = [*begins[1:], file.seek(0, os.SEEK_END)]
    links: list[BinaryIO] = []
    for begin, end in zip(begins, ends, strict=True):
        file.seek(begin)
        links.append(io.BytesIO(file.read(end - begin)))
    return links


def _find_links(file: BinaryIO) -> list[int]:
    """Return where each link begins: at a page that begins a stream, after pages that do not."""
    file.seek(0)
    if file.read(4) != _PAGE:
        return []
    begins: list[int] = []
    position: int | None = 0
    was_begin = False
    while position is not None and len(begins) < _MAX_LINKS:
        file.seek(position)
        header = file.read(_HEADER_BYTES + 255)
        if len(header) < _HEADER_BYTES:
            break
        if header[:5] != _PAGE + b"\0":
            position, was_begin = _find_page(file, position + 1), False
            continue
        is_begin = bool(header[5] & _BEGIN_OF_STREAM)
        if is_begin and not was_begin:
            begins.append(position)
        was_begin = is_begin
        segments = header[26]
        position += _HEADER_BYTES + segments + sum(header[_HEADER_BYTES : _HEADER_BYTES + segments])
    return begins


def _find_page(file: BinaryIO, position: int) -> int | None:
    """Return where the next page begins after damage."""
    overlap = len(_PAGE)
    while True:
        file.seek(position)
        content = file.read(65536)
        found = content.find(_PAGE + b"\0")
        if found >= 0:
            return position + found
        if len(content) <= overlap:
            return None
        position += len(content) - overlap
