"""Delete what installed packages bring and no process reads. Usage: `prune.py SITE_PACKAGES`.

Deletes tests, C sources, the data of AWS services other than S3, and from shared libraries what
only debuggers read.
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
)
_USED_AWS_DATA = {"s3", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}
_LOAD_SEGMENT = 1


def main(directory: Path) -> int:
    """Prune a directory of installed packages and print how much smaller it is."""
    before = _size(directory)
    for path in [*_unused_directories(directory)]:
        shutil.rmtree(path, ignore_errors=True)
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
    data = directory / "botocore" / "data"
    if data.is_dir():
        yield from (path for path in data.iterdir() if path.name not in _USED_AWS_DATA)


def strip(file: Path) -> None:
    """Remove section headers, symbol tables and debug data of a 64-bit ELF file.

    The loader reads only the segments that the program headers describe. What follows the last of
    them is cut off.
    """
    content = bytearray(file.read_bytes())
    if content[:5] != b"\x7fELF\x02" or content[5] != 1:
        return
    (header_offset,) = struct.unpack_from("<Q", content, 32)
    entry_size, entry_count = struct.unpack_from("<HH", content, 54)
    end = header_offset + entry_size * entry_count
    for index in range(entry_count):
        kind, _, offset, _, _, size = struct.unpack_from(
            "<IIQQQQ", content, header_offset + entry_size * index
        )
        if kind == _LOAD_SEGMENT or size:
            end = max(end, offset + size)
    if end >= len(content):
        return
    struct.pack_into("<Q", content, 40, 0)  # offset of the section headers
    struct.pack_into("<HH", content, 60, 0, 0)  # their number, and the index of their names
    file.write_bytes(content[:end])


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*"))


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
