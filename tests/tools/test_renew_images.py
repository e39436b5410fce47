"""`make renew-images` pins all images, or changes nothing."""

from pathlib import Path

import pytest
import renew_images

import compose_settings

_OLD, _NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_default_images_get_the_current_digest_and_keep_their_tag() -> None:
    text = (
        f"image: ${{MYSQL_IMAGE:-mysql:8.4@{_OLD}}}\n"
        "image: ${CADDY_IMAGE:-example.org/tools/caddy:2}\n"
        "image: genai-coach/ai:${COACH_TAG:-latest}\n"
        "ARG PYTHON_IMAGE=python:3.11-slim-bookworm\nFROM ${PYTHON_IMAGE} AS packages\n"
    )

    renewed = renew_images.renew(text, lambda _: _NEW)

    assert renewed == (
        f"image: ${{MYSQL_IMAGE:-mysql:8.4@{_NEW}}}\n"
        f"image: ${{CADDY_IMAGE:-example.org/tools/caddy:2@{_NEW}}}\n"
        "image: genai-coach/ai:${COACH_TAG:-latest}\n"
        f"ARG PYTHON_IMAGE=python:3.11-slim-bookworm@{_NEW}\nFROM ${{PYTHON_IMAGE}} AS packages\n"
    )
    assert renew_images.renew(renewed, lambda _: _NEW) == renewed


def test_every_image_of_the_deployment_is_found() -> None:
    found: list[str] = []

    def find_digest(tag: str) -> str:
        found.append(tag)
        return _NEW

    for file in (compose_settings.COMPOSE_FILE, renew_images.DOCKERFILE):
        renew_images.renew(file.read_text(), find_digest)

    assert {tag.partition(":")[0] for tag in found} == {
        *("caddy", "mysql", "python", "rabbitmq", "redis")
    }


def test_without_registry_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("ARG PYTHON_IMAGE=python:3.11\n")
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'no such host' >&2\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert renew_images.main((file,)) == 1
    assert file.read_text() == "ARG PYTHON_IMAGE=python:3.11\n"
    assert capsys.readouterr().err == (
        "error: no image registry is reachable (python:3.11: no such host)\n"
    )
