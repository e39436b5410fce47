"""What images install (`closure.py`), what they leave out (`prune.py`), and compose's secrets."""

import base64
import hashlib
import importlib.util
import json
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

PACKAGES = [
    *("coach_auth", "coach_sessions", "coach_media", "coach_ai", "coach_gateway"),
    *("coach_common", "coach_embedded"),
]

LOCK = """\
alembic==1.18 \\
    --hash=sha256:aa
    # via -r requirements.in
boto3==1.40 \\
    --hash=sha256:bb
    # via -r requirements.in
botocore==1.40 \\
    --hash=sha256:cc
    # via
    #   boto3
    #   s3transfer
greenlet==3.2 \\
    --hash=sha256:dd
    # via sqlalchemy
mako==1.3 \\
    --hash=sha256:ee
    # via alembic
s3transfer==0.14 \\
    --hash=sha256:ff
    # via boto3
watchfiles==1.1 \\
    --hash=sha256:00
    # via uvicorn
"""


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"deploy/images/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


closure, prune = _load("closure"), _load("prune")


def _names(lock: str) -> list[str]:
    return [line.partition("==")[0] for line in lock.splitlines() if "==" in line]


def test_closure_has_direct_and_indirect_packages_with_hashes_only() -> None:
    found = closure.closure(LOCK, {"boto3"})

    assert _names(found) == ["boto3", "botocore", "s3transfer"]
    assert found.count("--hash=") == 3


def test_closure_leaves_out_what_is_optional_for_those_that_ask() -> None:
    lock = LOCK + "uvicorn==0.38 \\\n    --hash=sha256:11\n    # via -r requirements.in\n"

    assert _names(closure.closure(lock, {"uvicorn"})) == ["uvicorn"]


def test_requirement_resolves_extras_of_own_and_of_other_packages() -> None:
    projects = {
        "coach-common": (
            Path("libs/common"),
            {
                "dependencies": ["structlog"],
                "optional-dependencies": {"sql": ["sqlalchemy[asyncio]"], "s3": ["boto3"]},
            },
        ),
        "coach-auth": (
            Path("services/auth"),
            {"dependencies": ["coach-common[sql]", "uvloop; sys_platform != 'win32'"]},
        ),
    }

    own, others = closure.resolve("coach-auth", projects)

    assert own == ["coach-auth", "coach-common"]
    assert others == {"structlog", "sqlalchemy", "greenlet", "uvloop"}


@pytest.mark.parametrize(
    ("package", "present", "absent"),
    [
        (
            "coach-gateway",
            {"httpx", "redis", "typer"},
            {"sqlalchemy", "boto3", "openai", "faster-whisper", "rich"},
        ),
        ("coach-auth", {"sqlalchemy", "greenlet", "bcrypt"}, {"boto3", "openai", "numpy"}),
        ("coach-ai[local]", {"openai", "faster-whisper", "av", "numpy"}, {"redis", "nanio"}),
        (
            "coach-ai",
            {"openai", "boto3", "sqlalchemy"},
            {"faster-whisper", "av", "ctranslate2", "onnxruntime", "tokenizers"},
        ),
        ("coach-media", {"boto3", "sqlalchemy"}, {"openai", "numpy", "redis"}),
        ("coach-embedded", {"nanio"}, {"sqlalchemy", "boto3", "faster-whisper", "typer"}),
    ],
)
def test_image_installs_what_its_service_imports(
    package: str, present: set[str], absent: set[str]
) -> None:
    _, others = closure.resolve(package, closure.find_projects(ROOT))
    names = set(_names(closure.closure((ROOT / "requirements.lock").read_text(), others)))

    assert present - names == set()
    assert names & (absent | {"hatchling", "pip", "pytest", "watchfiles", "hf-xet"}) == set()


def test_pruning_deletes_unused_files_only(tmp_path: Path) -> None:
    kept = (
        "numpy/core.py",
        "botocore/data/s3/service.json",
        "botocore/data/endpoints.json",
        "huggingface_hub/__init__.py",
    )
    deleted = (
        "numpy/tests/test_core.py",
        "numpy/core.pyi",
        "asyncmy/connection.c",
        "botocore/data/ec2/service.json",
        "onnxruntime/capi/libonnxruntime.so.1.32.0",
        "huggingface_hub/hf_api.py",
        "huggingface_hub/utils/__init__.py",
    )
    for name in (*kept, *deleted):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("content")

    prune.main(tmp_path)

    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert files == set(kept)


def test_no_module_imports_what_images_leave_out() -> None:
    code = f"""
import importlib, pkgutil, sys

class Pruned:
    def find_spec(self, name, path=None, target=None):
        if name.replace(".", "/") in {prune._UNUSED_DIRECTORIES}:
            raise ImportError(name + " is pruned")

sys.meta_path.insert(0, Pruned())
for package in {PACKAGES}:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if ".testing." not in module.name:
            importlib.import_module(module.name)
import numpy
numpy.percentile(numpy.arange(9.0), [5, 95])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_stripped_library_is_smaller_and_still_loads(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("av")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    (tmp_path / "av.libs").symlink_to(package.parent / "av.libs")
    original = next(package.glob("error.*so"))
    copy = tmp_path / "av" / original.name
    copy.parent.mkdir()
    copy.write_bytes(original.read_bytes())

    prune.strip(copy)
    size = copy.stat().st_size
    prune.strip(copy)

    assert size < original.stat().st_size / 2
    assert copy.stat().st_size == size
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).PyInit_error"
    subprocess.run([sys.executable, "-c", code, str(copy)], check=True)


def test_file_that_is_no_library_is_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "module.so"
    file.write_bytes(b"no ELF header")

    prune.strip(file)

    assert file.read_bytes() == b"no ELF header"


def _create_secrets(directory: Path) -> str:
    return subprocess.run(
        ["bash", str(ROOT / "deploy/compose/secrets.sh"), str(directory)],
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def test_secrets_are_created_once_and_only_the_owner_enters_their_directory(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    first_output = _create_secrets(directory)
    first = {file.name: file.read_text() for file in directory.iterdir()}
    (directory / "service_token").unlink()
    (directory / "redis_password").write_text("chosen by the operator")
    second_output = _create_secrets(directory)
    second = {file.name: file.read_text() for file in directory.iterdir()}

    random = [text for name, text in first.items() if "_api_" not in name and "smtp" not in name]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert len(random) == len(set(random))
    assert all(len(text) >= 64 for text in random)
    assert first["openai_api_key"] == first["smtp_password"] == ""
    assert "Created" in first_output and "Created 1 secrets" in second_output
    changed = {name for name, text in second.items() if text != first[name]}
    assert changed == {"service_token", "redis_password"}
    assert second["redis_password"] == "chosen by the operator"


def test_rabbitmq_definitions_hold_the_salted_hash_of_each_password(tmp_path: Path) -> None:
    _create_secrets(tmp_path)
    definitions = json.loads((tmp_path / "rabbitmq_definitions.json").read_text())

    assert {user["name"] for user in definitions["users"]} == {
        *("gateway", "auth", "sessions", "media", "ai")
    }
    for user in definitions["users"]:
        password = (tmp_path / f"{user['name']}_rabbitmq_password").read_bytes()
        decoded = base64.b64decode(user["password_hash"])
        assert decoded[4:] == hashlib.sha256(decoded[:4] + password).digest()
        assert user["tags"] == []
