"""Loading of settings that all services share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field
from sqlalchemy.engine import make_url
from yarl import URL

from coach_common.config import (
    DatabaseSettings,
    RabbitMQSettings,
    RedisSettings,
    Settings,
    SettingsError,
)
from coach_common.setting_types import Network, Origins


def test_crash_point_is_rejected_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACH_CRASH_AT", "transaction.committed")
    monkeypatch.setenv("ENVIRONMENT", "production")

    with pytest.raises(SettingsError, match=r"^setting COACH_CRASH_AT: .*ENVIRONMENT=production"):
        Settings.load()


def test_crash_point_is_accepted_outside_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACH_CRASH_AT", "transaction.committed")
    monkeypatch.setenv("ENVIRONMENT", "development")

    assert Settings.load().environment == "development"


def test_invalid_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "a secret value")

    with pytest.raises(SettingsError) as error:
        Settings.load()

    assert str(error.value).startswith("setting PORT: ")
    assert "secret value" not in str(error.value)


class _KettleSettings(DatabaseSettings, RabbitMQSettings, RedisSettings):
    origins: Origins = ()
    networks: tuple[Network, ...] = ()
    prices: dict[str, tuple[float, float]] = Field(default={})
    label: str | None = None
    volts: int = 230


_REQUIRED = {
    "DATABASE_URL": "mysql://kettle@database:3306/kettle",
    "RABBITMQ_URL": "amqp://kettle@broker:5672/",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_variables(**variables: str) -> None:
        for name, value in {**_REQUIRED, **variables}.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a", ("http://a",)),
        ("http://a, https://b:1 ,", ("http://a", "https://b:1")),
        ('["http://a", "*"]', ("http://a", "*")),
        ("[]", ()),
        ("", ()),
    ],
)
def test_list_is_separated_by_commas_or_json(
    environment: Callable[..., None], text: str, expected: tuple[str, ...]
) -> None:
    environment(ORIGINS=text)

    assert _KettleSettings.load().origins == expected


def test_empty_variable_is_not_set(environment: Callable[..., None]) -> None:
    environment(LABEL="", VOLTS="", PRICES="", REDIS_URL="", LOG_LEVEL="")

    settings = _KettleSettings.load()

    assert (settings.label, settings.volts, settings.prices) == (None, 230, {})
    assert (settings.redis_address, settings.log_level) == (None, "INFO")


def test_all_invalid_settings_are_named_in_one_line_each_without_values(
    environment: Callable[..., None], tmp_path: Path
) -> None:
    environment(
        DATABASE_URL="postgres://me:hush@host/name",
        RABBITMQ_URL="hush",
        REDIS_URL="redis://hush:port",
        ORIGINS="hush,hush/path",
        NETWORKS="hush",
        PRICES="hush",
        LOG_LEVEL="hush",
        LABEL_FILE=str(tmp_path / "missing"),
    )

    with pytest.raises(SettingsError) as error:
        _KettleSettings.load()

    lines = str(error.value).splitlines()
    assert sorted(line.partition(":")[0].removeprefix("setting ") for line in lines) == [
        "DATABASE_URL",
        "LABEL_FILE",
        "LOG_LEVEL",
        "NETWORKS",
        "ORIGINS",
        "PRICES",
        "RABBITMQ_URL",
        "REDIS_URL",
    ]
    assert "hush" not in str(error.value)


def test_missing_settings_are_all_named() -> None:
    with pytest.raises(SettingsError) as error:
        _KettleSettings.load()

    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "setting DATABASE_URL",
        "setting RABBITMQ_URL",
    ]


@pytest.mark.parametrize("content", ["hush", "hush\n", "hush\r\n"])
def test_setting_is_read_from_file(
    environment: Callable[..., None], tmp_path: Path, content: str
) -> None:
    file = tmp_path / "label"
    file.write_bytes(content.encode())
    environment(LABEL_FILE=str(file), LABEL="")

    assert _KettleSettings.load().label == "hush"


def test_empty_file_sets_nothing(environment: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "label").touch()
    environment(LABEL_FILE=str(tmp_path / "label"), LABEL="kept")

    assert _KettleSettings.load().label == "kept"


def test_setting_and_its_file_exclude_each_other(
    environment: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "label").write_text("one")
    environment(LABEL_FILE=str(tmp_path / "label"), LABEL="other")

    with pytest.raises(SettingsError, match=r"^setting LABEL: set it or LABEL_FILE, not both$"):
        _KettleSettings.load()


@pytest.mark.parametrize("content", [b"\xff", b"a" * (64 * 1024 + 1)])
def test_unusable_file_is_named(
    environment: Callable[..., None], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "label").write_bytes(content)
    environment(LABEL_FILE=str(tmp_path / "label"))

    with pytest.raises(SettingsError, match=r"^setting LABEL_FILE: .*label: the file is "):
        _KettleSettings.load()


@pytest.mark.parametrize("password", ["p@ss/wo#rd", "100%:?&", "ümläut ' \""])
def test_password_may_have_any_character(environment: Callable[..., None], password: str) -> None:
    environment(
        DATABASE_PASSWORD=password,
        RABBITMQ_PASSWORD=password,
        REDIS_URL="redis://host:6379/0",
        REDIS_PASSWORD=password,
    )

    settings = _KettleSettings.load()

    assert make_url(settings.database_address).password == password
    assert make_url(settings.database_address).host == "database"
    broker, redis = URL(settings.rabbitmq_address), URL(str(settings.redis_address))
    assert (broker.user, broker.password, broker.host) == ("kettle", password, "broker")
    assert (redis.user, redis.password, redis.host) == (None, password, "host")


def test_password_is_ignored_by_sqlite(environment: Callable[..., None]) -> None:
    environment(DATABASE_URL="sqlite:////data/kettle.db", DATABASE_PASSWORD="hush")

    assert _KettleSettings.load().database_address == "sqlite:////data/kettle.db"
