"""Run `coach demo` and write its output as a picture, docs/demo.svg, for the README.

Usage: `python tools/record_demo.py`. It writes nothing if the demo fails. Lines that report
progress (`Transcribe … 2 s`) are left out.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from generated_file import ROOT

_FILE = ROOT / "docs" / "demo.svg"
_COMMAND = "make demo"

_CHARACTER_WIDTH_PX = 7.83
"""Of a monospaced font of 13 px."""
_LINE_HEIGHT_PX = 18
_MARGIN_PX = 20
_TITLE_BAR_PX = 34
_MIN_COLUMNS = 80

_PROGRESS = re.compile(r" … \d+ s$")
_STYLES = (
    (re.compile(r"^\$ "), "prompt"),
    (re.compile(r"^── "), "heading"),
    (re.compile(r"^  (Scores|Word error rate)"), "result"),
    (re.compile(r"^  \S.{28,} +\d+\.\d\d s$|^Demo completed"), "step"),
)


def render(lines: Sequence[str]) -> str:
    """Return the lines as an SVG picture of a terminal window."""
    columns = max(_MIN_COLUMNS, *(len(line) for line in lines))
    width = round(columns * _CHARACTER_WIDTH_PX + 2 * _MARGIN_PX)
    height = _TITLE_BAR_PX + len(lines) * _LINE_HEIGHT_PX + _MARGIN_PX
    texts = "\n".join(
        f'<text class="{_style(line)}" x="{_MARGIN_PX}" '
        f'y="{_TITLE_BAR_PX + (index + 1) * _LINE_HEIGHT_PX}">{escape(line)}</text>'
        for index, line in enumerate(lines)
        if line.strip()
    )
    buttons = "".join(
        f'<circle cx="{_MARGIN_PX + 18 * index}" cy="18" r="5.5" fill="{color}"/>'
        for index, color in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" role="img" aria-label="Output of {_COMMAND}">
<style>
text {{ font: 13px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; \
fill: #c9d1d9; white-space: pre; }}
.prompt {{ fill: #7ee787; }}
.heading {{ fill: #79c0ff; font-weight: bold; }}
.result {{ fill: #ffa657; }}
.step {{ fill: #8b949e; }}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>
{buttons}
{texts}
</svg>
"""


def run_demo() -> list[str]:
    """Run the demo and return what it prints.

    Raises:
        SystemExit: If the demo fails.
    """
    program = Path(sys.executable).with_name("coach")
    finished = subprocess.run([program, "demo"], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise SystemExit(f"The demo failed:\n{finished.stdout}{finished.stderr}")
    lines = finished.stdout.rstrip().splitlines()
    return [f"$ {_COMMAND}", *(line for line in lines if not _PROGRESS.search(line))]


def _style(line: str) -> str:
    return next((name for pattern, name in _STYLES if pattern.search(line)), "output")


if __name__ == "__main__":
    _FILE.write_text(render(run_demo()))
