"""The `coach` command, and what `python -m coach_<service>` can do."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

import uvloop
from sqlalchemy import MetaData

from coach_common import logs, service
from coach_common.config import RabbitSettings
from coach_common.db import migrate
from coach_common.messaging.rabbit import RabbitTransport
from coach_common.messaging.subscriptions import Transport
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


def service_command(
    name: str, settings: type[RabbitSettings], build: Build, metadata: MetaData | None = None
) -> Command:
    """Return `serve`, and where there are tables `migrate` and `revision`, as one command."""

    def command(argv: Sequence[str]) -> int:
        parser = argparse.ArgumentParser(prog=f"coach {name}")
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("serve", help="serve HTTP and events until stopped")
        if metadata is not None:
            verbs.add_parser("migrate", help="bring the tables to the newest revision")
            revision = verbs.add_parser("revision", help="write a migration from the difference")
            revision.add_argument("message")
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
