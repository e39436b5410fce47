"""Replaces itself by the program piper, after it has given up what piper does not need.

`python -m coach_ai.voice.piper_launcher MEMORY_BYTES FILE_BYTES PROGRAM ARGUMENT…`. No module of
piper is imported here: it is a separate program with another license (GPL-3.0).
"""

import os
import sys

from coach_ai.process_sandbox import exit_with_parent, leave_network, limit_resources

_MAX_OPEN_FILES = 64


def main(memory_bytes: str, file_bytes: str, program: str, *arguments: str) -> None:
    """Limit this process and execute the program. The limits stay."""
    exit_with_parent()
    leave_network()
    limit_resources(
        memory_bytes=int(memory_bytes), open_files=_MAX_OPEN_FILES, file_bytes=int(file_bytes)
    )
    os.execv(program, (program, *arguments))  # noqa: S606 # a shell would interpret arguments


if __name__ == "__main__":
    main(*sys.argv[1:])
