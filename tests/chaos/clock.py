"""A wall clock that can be stepped, for one process. Needs a C compiler."""

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock_offset.c")


@dataclass(frozen=True, slots=True)
class SteppableClock:
    """The offset of a process's wall clock. Monotonic clocks are not changed."""

    file: Path

    def step(self, seconds: float) -> None:
        """Set the offset from the true time."""
        with self.file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))


def build_library(directory: Path) -> Path | None:
    """Compile the library that shifts the clock, or return None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = directory / "clock_offset.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"], check=True
    )
    return library


def make_clock(library: Path, file: Path) -> tuple[SteppableClock, dict[str, str]]:
    """Return a clock and the environment of the process that uses it."""
    file.write_bytes(bytes(8))
    return SteppableClock(file), {"LD_PRELOAD": str(library), "CHAOS_CLOCK_FILE": str(file)}
