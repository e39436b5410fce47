"""The `coach` command, and the commands of `python -m coach_<service>`."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Concatenate, Generic, TypeVar

import uvloop

from coach_common import logs, service, tracing
from coach_common.config import RabbitMQSettings, Settings
from coach_common.errors import CoachError
from coach_common.messaging.rabbitmq import RabbitMQTransport
from coach_common.messaging.subscriptions import NullTransport, Transport
from coach_common.service import Service

D = TypeVar("D")

Command = Callable[[Sequence[str]], int]
ServiceFactory = Callable[[Any, Transport], Service[D]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `coach NAME …`: the command that an installed package registered as NAME."""
    commands = {point.name: point for point in entry_points(group="coach.commands")}
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] not in commands:
        print(f"usage: coach {{{','.join(sorted(commands))}}} …", file=sys.stderr)
        return 2
    command: Command = commands[args[0]].load()
    return command(args[1:])


@dataclass(frozen=True, slots=True)
class Subcommand(Generic[D]):
    """A subcommand of an operator command. The first line of its docstring is its help text.

    The handler receives the service's `Deps` and the `arguments` by name. Its result is printed.
    CoachError ends the command with the sentence of the error and exit status 1.
    """

    handler: Callable[Concatenate[D, ...], Awaitable[str]]
    arguments: Sequence[str] = ()
    aliases: Sequence[str] = ()
    """Former names. They still work and are not listed in the help."""


def admin_command(
    name: str,
    settings: type[Settings],
    build: ServiceFactory[D],
    subcommands: Mapping[str, Subcommand[D]],
) -> Command:
    """Build a command that works on a service's database, while the service may be running.

    Events it emits stay in the outbox until a running replica publishes them. Settings come from
    the environment. If DATABASE_URL is not set, they come from the local (embedded) installation
    through the entry point group `coach.local_settings`, a function of the service's name.
    """

    def command(argv: Sequence[str]) -> int:
        parser = argparse.ArgumentParser(prog=f"coach {name}")
        subparsers = parser.add_subparsers(dest="subcommand", required=True)
        aliases = {
            alias: name_
            for name_, subcommand in subcommands.items()
            for alias in subcommand.aliases
        }
        for name_, subcommand in subcommands.items():
            summary = (subcommand.handler.__doc__ or "").splitlines()[0]
            subparser = subparsers.add_parser(name_, help=summary)
            for argument in subcommand.arguments:
                subparser.add_argument(argument)
        parsed = vars(parser.parse_args([aliases.get(argv[0], argv[0]), *argv[1:]] if argv else []))
        subcommand = subcommands[parsed.pop("subcommand")]
        logs.configure(level="ERROR", json=False)
        loaded_settings = settings.load(**_local_settings(build))
        try:
            print(uvloop.run(_run_subcommand(build, loaded_settings, subcommand, parsed)))
        except CoachError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0

    return command


def _local_settings(build: ServiceFactory[D]) -> dict[str, Any]:
    if os.environ.get("DATABASE_URL"):
        return {}
    package = build.__module__.partition(".")[0]
    found: dict[str, Any] = {}
    for point in entry_points(group="coach.local_settings"):
        found |= point.load()(package.removeprefix("coach_"))
    return found


async def _run_subcommand(
    build: ServiceFactory[D],
    settings: Settings,
    subcommand: Subcommand[D],
    arguments: Mapping[str, Any],
) -> str:
    built = build(settings, NullTransport())
    try:
        return await subcommand.handler(built.deps, **arguments)
    finally:
        await service.close(built)


def service_command(
    name: str,
    settings: type[RabbitMQSettings],
    build: ServiceFactory[object],
    *,
    has_tables: bool = False,
    extra_commands: Mapping[str, Command] = MappingProxyType({}),
) -> Command:
    """Build the command of a service: `serve`, and `migrate` if it has tables."""

    def command(argv: Sequence[str]) -> int:
        if argv and argv[0] in extra_commands:
            return extra_commands[argv[0]](argv[1:])
        parser = argparse.ArgumentParser(prog=f"coach {name}")
        subparsers = parser.add_subparsers(dest="subcommand", required=True)
        serve = subparsers.add_parser("serve", help="serve HTTP and consume events until stopped")
        if has_tables:
            serve.add_argument("--migrate", action="store_true", help="migrate the database first")
            subparsers.add_parser("migrate", help="migrate the database to the latest revision")
        for name_ in extra_commands:
            subparsers.add_parser(name_, help="administration commands; see --help")
        parsed = parser.parse_args(argv)
        loaded_settings = settings.load()
        logs.configure(level=loaded_settings.log_level, json=not loaded_settings.debug)
        tracing.configure(loaded_settings.otel_exporter_otlp_endpoint)
        try:
            uvloop.run(_run_service(parsed, loaded_settings, build))
        finally:
            tracing.shutdown()
        return 0

    return command


async def _run_service(
    parsed: argparse.Namespace,
    settings: RabbitMQSettings,
    build: ServiceFactory[object],
) -> None:
    transport = RabbitMQTransport(settings.rabbitmq_address, prefetch=settings.rabbitmq_prefetch)
    built = build(settings, transport)
    if parsed.subcommand == "migrate":
        await service.upgrade_when_available(built)
    elif not vars(parsed).get("migrate") or await service.upgrade_when_available(built):
        async with service.running(built, service.listen(settings.host, settings.port)):
            await service.wait_for_shutdown()
