"""A MariaDB and a RabbitMQ of a test run's own: free ports, own folders, stopped by id."""

from collections.abc import Iterator
from contextlib import contextmanager


class PrivateMariaDB:
    @classmethod
    @contextmanager
    def started(cls) -> Iterator["PrivateMariaDB"]:
        raise NotImplementedError
        yield

    @contextmanager
    def database(self) -> Iterator[str]:
        raise NotImplementedError
        yield


class PrivateRabbitMQ:
    url: str

    @classmethod
    @contextmanager
    def started(cls) -> Iterator["PrivateRabbitMQ"]:
        raise NotImplementedError
        yield
