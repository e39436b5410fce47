"""A zip archive that is written while it is sent, in bounded memory."""

import asyncio
import io
import zipfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any


class _Output(io.RawIOBase):
    """Keeps what is written until it is taken. It cannot seek, so that each byte is final."""

    def __init__(self) -> None:
        super().__init__()
        self._content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._content += data
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        content = bytes(self._content)
        self._content.clear()
        return content


class ArchiveWriter:
    """Writes a zip archive in one pass: sizes and checksums follow the content of each file."""

    def __init__(self, created_at: datetime) -> None:
        self._output = _Output()
        self._zip = zipfile.ZipFile(self._output, "w")
        at = created_at
        self._time = (at.year, at.month, at.day, at.hour, at.minute, at.second)

    async def add_text(self, name: str, text: str) -> bytes:
        """Add a compressed file, and return the output."""
        info = zipfile.ZipInfo(name, self._time)
        info.compress_type = zipfile.ZIP_DEFLATED
        await asyncio.to_thread(self._zip.writestr, info, text)
        return self._output.take()

    async def add_stream(
        self, name: str, chunks: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """Add an uncompressed file in chunks, and yield the output after each.

        Nothing is added if `chunks` fails before its first chunk.
        """
        async with aclosing(chunks):
            first = await anext(chunks, b"")
            with self._zip.open(zipfile.ZipInfo(name, self._time), "w", force_zip64=True) as file:
                file.write(first)
                yield self._output.take()
                async for chunk in chunks:
                    file.write(chunk)
                    yield self._output.take()
        yield self._output.take()

    def finish(self) -> bytes:
        """End the archive, and return the rest of the output."""
        self._zip.close()
        return self._output.take()
