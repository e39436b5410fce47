"""`make verify-containers` finds what it needs in the guide, and is skipped without Docker."""

import asyncio

import pytest
import verify_containers


def test_verification_is_skipped_without_docker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")

    assert asyncio.run(verify_containers.main()) == 0
    assert capsys.readouterr().out == "skipped: Docker is not installed\n"


def test_guide_has_the_commands_and_the_place_of_the_results() -> None:
    guide = verify_containers.GUIDE.read_text()

    assert "coach users show EMAIL" in verify_containers._guide_commands("Operator commands")
    assert "mysqldump" in verify_containers._guide_commands("Backup and restore")
    assert guide.index(verify_containers.BEGIN) < guide.index(verify_containers.END)


def test_every_built_image_has_a_goal_or_none_on_purpose() -> None:
    images = {*verify_containers.BUILT, "embedded"}

    assert set(verify_containers.IMAGE_GOALS_MB) == images
