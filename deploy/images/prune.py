"""Delete what installed packages bring and no process reads. Usage: `prune.py SITE_PACKAGES`.

Deletes tests, C sources, unused parts of packages, the data of AWS services other than S3, and from
shared libraries what only debuggers read.
"""

import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

_SOURCE_SUFFIXES = {".c", ".cpp", ".h", ".pxd", ".pyx", ".pyi"}
_PACKAGES_WITH_TESTS = ("numpy", "greenlet", "uvloop", "tqdm", "sqlalchemy")
_UNUSED_DIRECTORIES = (
    "onnxruntime/transformers",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "numpy/f2py",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/distutils",
    # Imported on first use.
    "numpy/polynomial",
    "numpy/random",
    "numpy/testing",
    # Messages of Google's services. Only the exporter over gRPC reads some of them.
    "google/api",
    "google/cloud",
    "google/gapic",
    "google/logging",
    "google/longrunning",
    "google/rpc",
    "google/type",
    "alembic/testing",
    "boto3/examples",
    # Parts of the API that no service calls. They are imported on first use.
    "openai/lib/beta",
    "openai/lib/live",
    "openai/lib/responses_websocket",
    "openai/resources/admin",
    "openai/resources/beta",
    "openai/resources/containers",
    "openai/resources/conversations",
    "openai/resources/evals",
    "openai/resources/fine_tuning",
    "openai/resources/live",
    "openai/resources/realtime",
    "openai/resources/responses",
    "openai/resources/skills",
    "openai/resources/uploads",
    "openai/resources/vector_stores",
    "openai/resources/webhooks",
    "openai/types/admin",
    "openai/types/beta",
    "openai/types/evals",
    "openai/types/fine_tuning",
    "openai/types/live",
    "openai/types/realtime",
    "openai/types/webhooks",
    "onnxruntime/backend",
    "onnxruntime/datasets",
    "sqlalchemy/testing",
    "sqlalchemy/dialects/mssql",
    "sqlalchemy/dialects/oracle",
    "websockets/legacy",
    "websockets/sync",
    "websockets/trio",
    # Writes AsyncAPI documents. Ours are generated from the catalogue.
    "faststream/specification/asyncapi/v2_6_0",
    "faststream/specification/asyncapi/v3_0_0",
    "faststream/confluent",
    "faststream/kafka",
    "faststream/mqtt",
    "faststream/nats",
    "faststream/redis",
)
_UNUSED_FILES = (
    # The library for C programs. The module for Python contains the same code.
    "onnxruntime/capi/libonnxruntime.so*",
    "huggingface_hub/[a-z]*.py",
    "huggingface_hub/__pycache__/[a-z]*",
    "numpy/_core/*_tests.*.so",
    "numpy/_core/_simd.*.so",
    # What pip would uninstall. There is no pip.
    "*.dist-info/RECORD",
)
_USED_AWS_DATA = {"s3", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}
_LOAD_SEGMENT = 1
_LARGEST_PAGE = 65536
"""Largest page of a kernel. Libraries may ask for more alignment, and do not need it."""


def main(directory: Path) -> int:
    """Prune a directory of installed packages and print how much smaller it is."""
    before = _size(directory)
    for path in [*_unused_directories(directory)]:
        shutil.rmtree(path, ignore_errors=True)
    for pattern in _UNUSED_FILES:
        for path in directory.glob(pattern):
            path.unlink()
    for path in [*directory.rglob("*")]:
        if path.is_symlink() or not path.is_file():
            continue
        if path.suffix in _SOURCE_SUFFIXES:
            path.unlink()
        elif ".so" in path.suffixes:
            strip(path)
    print(f"pruned {(before - _size(directory)) / 1e6:.0f} MB of {before / 1e6:.0f} MB")
    return 0


def _unused_directories(directory: Path) -> Iterator[Path]:
    for name in _UNUSED_DIRECTORIES:
        yield directory / name
    for package in _PACKAGES_WITH_TESTS:
        yield from (directory / package).rglob("tests")
    # Its modules download models. Its `__init__` imports them on demand.
    yield from (directory / "huggingface_hub").glob("[a-z]*/")
    data = directory / "botocore" / "data"
    if data.is_dir():
        yield from (path for path in data.iterdir() if path.name not in _USED_AWS_DATA)


def strip(file: Path) -> None:
    """Remove section headers, symbol tables and debug data of a 64-bit ELF file.

    The loader reads only the segments that the program headers describe. Whatever lies between
    them and behind the last of them is cut out, in whole pages.
    """
    content = file.read_bytes()
    if content[:5] != b"\x7fELF\x02" or content[5] != 1:
        return
    (header_offset,) = struct.unpack_from("<Q", content, 32)
    entry_size, entry_count = struct.unpack_from("<HH", content, 54)
    headers = [header_offset + entry_size * index for index in range(entry_count)]
    spans = [(0, header_offset + entry_size * entry_count)]
    page = 1
    for header in headers:
        kind, _, offset, _, _, size, _, alignment = struct.unpack_from("<IIQQQQQQ", content, header)
        spans.append((offset, offset + size))
        if kind == _LOAD_SEGMENT:
            page = max(page, min(alignment, _LARGEST_PAGE))
    kept = _merge(spans, page)
    stripped = bytearray(b"".join(content[begin:end] for begin, end in kept))
    if len(stripped) >= len(content):
        return
    for header in headers:
        kind, _, offset, _, _, _, _, alignment = struct.unpack_from("<IIQQQQQQ", content, header)
        struct.pack_into("<Q", stripped, header + 8, _moved(offset, kept))
        if kind == _LOAD_SEGMENT:
            struct.pack_into("<Q", stripped, header + 48, min(alignment, page))
    struct.pack_into("<Q", stripped, 40, 0)  # offset of the section headers
    struct.pack_into("<HH", stripped, 60, 0, 0)  # their number, and the index of their names
    file.write_bytes(stripped)


def _merge(spans: list[tuple[int, int]], page: int) -> list[tuple[int, int]]:
    """Return the spans to keep. What is cut out before each of them is a multiple of the page.

    A loader maps pages, so the offset of a segment must keep its remainder.
    """
    kept = [(0, 0)]
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        previous_begin, previous_end = kept[-1]
        gap = (begin - previous_end) // page * page
        if gap <= 0:
            kept[-1] = (previous_begin, max(previous_end, end))
        else:
            kept.append((previous_end + gap, end))
    return kept


def _moved(offset: int, kept: list[tuple[int, int]]) -> int:
    """Return where an offset of the original file lies in the kept parts."""
    position = 0
    for begin, end in kept:
        if begin <= offset < end:
            return position + offset - begin
        position += end - begin
    return 0


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*"))


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
