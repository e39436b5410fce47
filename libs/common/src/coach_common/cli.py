"""The `coach` command, and what `python -m coach_<service>` can do."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import uvloop
from sqlalchemy import MetaData

from coach_common import logs, service
from coach_common.config import RabbitSettings, Settings
from coach_common.db import migrate
from coach_common.errors import CoachError
from coach_common.messaging.rabbit import RabbitTransport
from coach_common.messaging.subscriptions import NoTransport, Transport
from coach_common.service import Service

Command = Callable[[Sequence[str]], int]
Build = Callable[[Any, Transport], Service]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `coach NAME …`: the command that an installed package registered under NAME."""
    commands = {point.name: point for point in entry_points(group="coach.commands")}
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in commands:
        print(f"usage: coach {{{','.join(sorted(commands))}}} …", file=sys.stderr)
        return 2
    command: Command = commands[words[0]].load()
    return command(words[1:])


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb of an operator command; the first line of its docstring is its help.

    It gets the built, not running service, and what was given for `arguments` by name; what it
    returns is printed. CoachError ends the command with its sentence and 1.
    """

    run: Callable[..., Awaitable[str]]
    arguments: Sequence[str] = ()


def operator_command(
    name: str, settings: type[Settings], build: Build, operations: Mapping[str, Operation]
) -> Command:
    """Return a command that works on a service's tables beside the running service.

    What it emits lies in the outbox until a running replica publishes it. Settings come from the
    environment; where DATABASE_URL is not set, from whoever keeps an installation's own
    (entry point group `coach.installations`: a function from a service's name to its settings).
    """

    def command(argv: Sequence[str]) -> int:
        parser = argparse.ArgumentParser(prog=f"coach {name}")
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb, operation in operations.items():
            summary = (operation.run.__doc__ or "").splitlines()[0]
            adding = verbs.add_parser(verb, help=summary)
            for argument in operation.arguments:
                adding.add_argument(argument)
        chosen = vars(parser.parse_args(argv))
        operation = operations[chosen.pop("verb")]
        logs.configure(level="ERROR", json=False)
        loaded = settings.load(**_kept_settings(build))
        try:
            print(uvloop.run(_operate(build, loaded, operation, chosen)))
        except CoachError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0

    return command


def _kept_settings(build: Build) -> dict[str, Any]:
    if os.environ.get("DATABASE_URL"):
        return {}
    package = build.__module__.partition(".")[0]
    found: dict[str, Any] = {}
    for point in entry_points(group="coach.installations"):
        found |= point.load()(package.removeprefix("coach_"))
    return found


async def _operate(
    build: Build, settings: Settings, operation: Operation, arguments: Mapping[str, Any]
) -> str:
    built = build(settings, NoTransport())
    try:
        return await operation.run(built, **arguments)
    finally:
        await service.close(built)


def service_command(
    name: str,
    settings: type[RabbitSettings],
    build: Build,
    metadata: MetaData | None = None,
    *,
    more: Mapping[str, Command] = MappingProxyType({}),
) -> Command:
    """Return `serve`, with tables `migrate` and `revision` too, and `more`, as one command."""

    def command(argv: Sequence[str]) -> int:
        if argv and argv[0] in more:
            return more[argv[0]](argv[1:])
        parser = argparse.ArgumentParser(prog=f"coach {name}")
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("serve", help="serve HTTP and events until stopped")
        if metadata is not None:
            verbs.add_parser("migrate", help="bring the tables to the newest revision")
            revision = verbs.add_parser("revision", help="write a migration from the difference")
            revision.add_argument("message")
        for verb in more:
            verbs.add_parser(verb, help="for operators; says more by itself")
        chosen = parser.parse_args(argv)
        loaded = settings.load()
        logs.configure(level=loaded.log_level, json=not loaded.debug)
        uvloop.run(_run(chosen, loaded, build, metadata))
        return 0

    return command


async def _run(
    chosen: argparse.Namespace, settings: RabbitSettings, build: Build, metadata: MetaData | None
) -> None:
    transport = RabbitTransport(settings.rabbitmq_url, prefetch=settings.rabbitmq_prefetch)
    built = build(settings, transport)
    if chosen.verb == "migrate":
        await service.upgrade(built)
    elif chosen.verb == "revision":
        if built.database is None or built.package is None or metadata is None:
            raise TypeError("a service without tables has no revisions")
        await migrate.revision(built.database, built.package, metadata, chosen.message)
    else:
        async with service.running(built, service.listen(settings.host, settings.port)):
            await service.stopped()
