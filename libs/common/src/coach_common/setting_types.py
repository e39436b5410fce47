"""Types of settings, with validators that never put a value into a message."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator

_PLACEHOLDER_PATTERN = re.compile(
    r"change.?(me|it|this)|your.?secret|placeholder|change.in.production|\A(.)\2*\Z", re.IGNORECASE
)

_ORIGIN_PATTERN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@]+", re.IGNORECASE)


def _reject_placeholder(value: str) -> str:
    if _PLACEHOLDER_PATTERN.search(value):
        raise ValueError("is a placeholder; generate a value of your own")
    return value


SecretSetting = Annotated[str, AfterValidator(_reject_placeholder)]
"""A secret that must not be a placeholder from documentation or templates."""


def _require_url(schemes: tuple[str, ...], example: str) -> Callable[[str], str]:
    """Return a validator of URLs. Its message has no URL, because a URL may have a password."""

    def validate(url: str) -> str:
        try:
            parts = urlsplit(url)
            has_address = parts.port != 0 and (bool(parts.hostname) or parts.scheme == "sqlite")
        except ValueError:
            has_address = False
        if not has_address or parts.scheme.partition("+")[0] not in schemes:
            raise ValueError(f"must be a URL such as {example}")
        return url

    return validate


def _require_http_urls(text: str) -> str:
    for url in text.split(","):
        _require_url(("http", "https"), "http://host:8000")(url.strip())
    return text


DatabaseUrl = Annotated[
    str,
    AfterValidator(
        _require_url(("mysql", "mariadb", "sqlite"), "mysql://user:password@host:3306/name")
    ),
]

RabbitMQUrl = Annotated[
    str, AfterValidator(_require_url(("amqp", "amqps"), "amqp://user:password@host:5672/"))
]

RedisUrl = Annotated[str, AfterValidator(_require_url(("redis", "rediss"), "redis://host:6379/0"))]

HttpUrl = Annotated[str, AfterValidator(_require_url(("http", "https"), "http://host:8000"))]
"""The base URL of a service."""

HttpUrls = Annotated[str, AfterValidator(_require_http_urls)]
"""Base URLs of the replicas of a service, separated by commas."""


def _require_origin(origin: str) -> str:
    if origin != "*" and not _ORIGIN_PATTERN.fullmatch(origin):
        raise ValueError("must be an origin such as https://app.example.com, without a path")
    return origin


def _require_network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None
    return text


Origins = tuple[Annotated[str, AfterValidator(_require_origin)], ...]
"""Origins of web pages, separated by commas."""

Network = Annotated[str, AfterValidator(_require_network)]
"""An IP address, or a network in CIDR notation."""

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(lambda level: level.upper() if isinstance(level, str) else level),
]


def add_password(url: str, password: str | None) -> str:
    """Return a URL whose password is `password`, quoted. Does nothing for a URL without a host."""
    parts = urlsplit(url)
    if not password or not parts.hostname:
        return url
    address = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{address}"))
