"""Settings classes, .env.example, docker-compose.yml and docs/configuration.md name the same."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import generate_configuration
import pytest
import yaml

import compose_settings

ROOT = Path(__file__).parents[2]
CLASSES = generate_configuration._CLASSES
CONTAINERS = compose_settings.load_services()


def _load_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check", ROOT / "deploy/compose/check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_up_to_date() -> None:
    assert generate_configuration.main(["--check"]) == 0


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name in CLASSES])
def test_container_gets_only_settings_that_its_service_reads(name: str) -> None:
    environment = CONTAINERS[name]["environment"]
    settings = {setting.name for setting in generate_configuration.describe(CLASSES[name])}

    assert {variable.removesuffix("_FILE") for variable in environment} - settings == set()


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name in CLASSES])
def test_container_gets_every_setting(name: str) -> None:
    settings = {setting.name for setting in generate_configuration.describe(CLASSES[name])}
    passed = set((compose_settings.SETTINGS_DIRECTORY / f"{name}.env").read_text().split())
    fixed = {variable.removesuffix("_FILE") for variable in CONTAINERS[name]["environment"]}

    assert settings - passed - fixed == ({"DATA_DIR"} if name == "store" else set())


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name in CLASSES])
def test_container_gets_the_address_of_every_service_it_calls(name: str) -> None:
    called = {
        setting.name
        for setting in generate_configuration.describe(CLASSES[name])
        if setting.name.endswith("_URL") and "://localhost:" in setting.default
    }

    assert called - set(CONTAINERS[name]["environment"]) == set()


def test_example_sets_nothing_and_has_no_comment_behind_a_value() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == []
    assert [line for line in lines if re.match(r"#[A-Z_]+=.*\s#", line)] == []


def test_every_secret_of_compose_is_created() -> None:
    script = (ROOT / "deploy/compose/secrets.sh").read_text()
    for name in yaml.safe_load(compose_settings.COMPOSE_FILE.read_text())["secrets"]:
        service, _, kind = name.partition("_")
        assert name in script or re.search(rf"\{{[a-z,]*\b{service}\b[a-z,]*\}}_{kind}", script), (
            name
        )


def test_compose_file_keeps_least_privilege() -> None:
    check = _load_check()
    text = compose_settings.COMPOSE_FILE.read_text()

    assert check.problems(text) == []
    weakened = text.replace("cap_drop: [ALL]", "cap_drop: []").replace(
        "networks: [edge, services]", "networks: [edge, services, data]"
    )
    problems = "\n".join(check.problems(weakened))
    assert "keeps capabilities" in problems and "reached" in problems
