"""Documents of users as their text, read by a child process with limits."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import IO

from prometheus_client import Counter

from coach_ai.process_sandbox import inherit_environment
from coach_common import logs
from coach_common.errors import InvalidInput, Unavailable

log = logs.get_logger(__name__)

DOCUMENTS = Counter(
    "coach_ai_profile_documents", "Documents of profiles by outcome: read or rejected.", ["outcome"]
)

MAX_DOCUMENT_BYTES = 4 * 1024**2

_MEMORY_BYTES = 512 * 1024**2
_PROCESSOR_SECONDS = 10
_TIMEOUT_SECONDS = 45.0
"""Below the timeout of the gateway. The processor time is the limit of a busy process."""
_MAX_PROCESSES = 2
_MAX_WAIT_SECONDS = 10.0
_MAX_RESPONSE_BYTES = 1024**2
_LIMITS_EXCEEDED = "cannot be read within the limits of memory and time."


class DocumentFormat(StrEnum):
    """A format that can be read."""

    PDF = "pdf"
    DOCX = "docx"


MEDIA_TYPES = {
    "application/pdf": DocumentFormat.PDF,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": DocumentFormat.DOCX,
}


class DocumentRejected(InvalidInput):
    """The document cannot be read. The message names what is wrong with it."""

    code = "document_rejected"

    def __init__(self, problem: str) -> None:
        super().__init__(f"The file {problem}")


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of a document. `is_truncated`: its rest was left out."""

    text: str
    pages: int
    is_truncated: bool


def parse_media_type(content_type: str) -> DocumentFormat:
    """Return the format of a Content-Type header.

    Raises:
        DocumentRejected: If it is none of `MEDIA_TYPES`.
    """
    found = MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())
    if found is None:
        raise DocumentRejected(
            "must be a PDF or DOCX file. Send its media type as Content-Type:"
            f" {' or '.join(MEDIA_TYPES)}."
        )
    return found


class DocumentParser:
    """Reads documents, each in a process of its own, and a few at the same time.

    Args:
        memory_bytes: Address space of a process.
        processor_seconds: Processor time of a process.
        timeout_seconds: Wall-clock time of a process.
    """

    def __init__(
        self,
        *,
        memory_bytes: int = _MEMORY_BYTES,
        processor_seconds: int = _PROCESSOR_SECONDS,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._processor_seconds = processor_seconds
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(_MAX_PROCESSES)

    async def parse(self, document_format: DocumentFormat, content: bytes) -> ParsedDocument:
        """Return the text of a document.

        Raises:
            DocumentRejected: If it cannot be read within the limits.
            Unavailable: If other documents are being read, or the machine is too busy.
        """
        try:
            async with asyncio.timeout(_MAX_WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable("Other documents are being read. Please try again.") from None
        try:
            parsed = await self._run(document_format, content)
        except DocumentRejected as error:
            DOCUMENTS.labels("rejected").inc()
            log.info("document.rejected", reason=str(error))
            raise
        finally:
            self._slots.release()
        DOCUMENTS.labels("read").inc()
        return parsed

    async def _run(self, document_format: DocumentFormat, content: bytes) -> ParsedDocument:
        # A file instead of a pipe: uvloop raises RuntimeError if the child exits before it reads.
        with tempfile.TemporaryFile() as document:
            document.write(content)
            document.seek(0)
            output, status = await self._run_child(document_format, document)
        if status in (-signal.SIGKILL, -signal.SIGTERM):
            raise Unavailable("Reading the document was interrupted. Please try again.")
        if status == -signal.SIGXCPU:
            raise DocumentRejected("takes too long to read.")
        if status != 0:
            log.warning("document.process_exited", status=status)
            raise DocumentRejected(_LIMITS_EXCEEDED)
        response = json.loads(output)
        if "error" in response:
            raise DocumentRejected(response["error"])
        return ParsedDocument(response["text"], response["pages"], response["is_truncated"])

    async def _run_child(
        self, document_format: DocumentFormat, document: IO[bytes]
    ) -> tuple[bytes, int]:
        """Return what a child process writes about a document, and its exit status."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "coach_ai.profile.document_process",
            document_format.value,
            str(self._memory_bytes),
            str(self._processor_seconds),
            stdin=document,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=inherit_environment(os.environ),
        )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                output = await _read_output(child)
                return output, await child.wait()
        except TimeoutError:
            raise Unavailable("Reading the document took too long. Please try again.") from None
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()


async def _read_output(child: asyncio.subprocess.Process) -> bytes:
    """Return what the process writes, up to a limit."""
    if child.stdout is None:
        raise Unavailable("The document cannot be read now.")
    output = b""
    while chunk := await child.stdout.read(_MAX_RESPONSE_BYTES):
        output += chunk
        if len(output) > _MAX_RESPONSE_BYTES:
            raise DocumentRejected(_LIMITS_EXCEEDED)
    return output
