"""The `coach` command, and the commands of `python -m coach_<service>`."""

import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Generic, TypeVar

import typer
import uvloop
from typer.core import TyperGroup
from typer.main import get_command

from coach_common import logs, service, tracing
from coach_common.config import DatabaseSettings, RabbitMQSettings, Settings
from coach_common.errors import CoachError
from coach_common.messaging.subscriptions import NullTransport, Transport
from coach_common.service import Service

if TYPE_CHECKING:
    from coach_common.db.database import Database

D = TypeVar("D")

ServiceFactory = Callable[[Any, Transport], Service[D]]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True, slots=True)
class Command:
    """A command line. `coach` runs it under the name of its entry point, `python -m` by itself."""

    name: str
    """The words before the arguments, for the usage line."""
    app: typer.Typer

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command and return its exit status: 2 for a usage error, 1 for a failure.

        Args:
            argv: The arguments after the name. Default: those of this process.

        Raises:
            SettingsError: If settings are missing or invalid. It ends the process.
        """
        try:
            get_command(self.app)(args=None if argv is None else [*argv], prog_name=self.name)
        except SystemExit as end:
            if isinstance(end.code, int):
                return end.code
            raise
        return 0


@dataclass(frozen=True, slots=True)
class Subcommand(Generic[D]):
    """A subcommand of an operator command. The docstring of its handler is its help text.

    The handler receives what the command has opened, then the arguments and options that typer
    reads from the rest of its signature. Its result is printed. CoachError ends the command with
    the sentence of the error and exit status 1.
    """

    handler: Callable[Concatenate[D, ...], Awaitable[str]]
    aliases: Sequence[str] = ()
    """Former names. They still work and are not listed in the help."""


class _InstalledCommands(TyperGroup):
    """The commands that installed packages registered. Only the one that runs is loaded."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(point.name for point in entry_points(group="coach.commands"))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for point in entry_points(group="coach.commands"):
            if point.name == cmd_name:
                command: Command = point.load()
                return get_command(command.app)
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run `coach NAME …`: the command that an installed package registered as NAME."""
    return Command(
        "coach",
        _new_group(
            "Run and administer GenAI Coach. Settings are environment variables.",
            example="coach users create alice@example.com --name Alice",
            group_class=_InstalledCommands,
        ),
    )(argv)


def function_command(name: str, function: Callable[..., None], *, example: str) -> Command:
    """Build a command without subcommands. Its help text is the docstring of the function."""
    app = _new_app()
    app.command(epilog=f"Example: {example}")(function)
    return Command(f"coach {name}", app)


def _new_app(summary: str | None = None, **options: Any) -> typer.Typer:
    """Return an application with plain output: no colours, no boxes and no shell completion."""
    return typer.Typer(
        help=summary,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_CONTEXT,
        **options,
    )


def _new_group(
    summary: str, *, example: str, group_class: type[TyperGroup] = TyperGroup
) -> typer.Typer:
    """Return an application whose commands are always named, even if there is only one."""
    return _new_app(
        summary,
        epilog=f"Example: {example}",
        no_args_is_help=True,
        cls=group_class,
        # With a callback, typer keeps the name of a single command.
        callback=lambda: None,
    )


def command_group(
    name: str, commands: Mapping[str, Command], *, summary: str, example: str
) -> Command:
    """Build a command that only groups other commands."""
    app = _new_group(summary, example=f"coach {name} {example}")
    for command_name, command in commands.items():
        app.add_typer(command.app, name=command_name)
    return Command(f"coach {name}", app)


def operator_command(
    name: str,
    subcommands: Mapping[str, Subcommand[D]],
    open_context: Callable[[], AbstractAsyncContextManager[D]],
    *,
    summary: str,
    example: str,
) -> Command:
    """Build a command whose subcommands work on what `open_context` opens."""
    app = _new_group(summary, example=f"coach {name} {example}")
    for subcommand_name, subcommand in subcommands.items():
        function = _as_function(subcommand.handler, open_context)
        app.command(subcommand_name)(function)
        for alias in subcommand.aliases:
            app.command(alias, hidden=True)(function)
    return Command(f"coach {name}", app)


def _as_function(
    handler: Callable[Concatenate[D, ...], Awaitable[str]],
    open_context: Callable[[], AbstractAsyncContextManager[D]],
) -> Callable[..., None]:
    """Return a function with the handler's signature without its first parameter, for typer."""

    async def run(arguments: Mapping[str, Any]) -> str:
        async with open_context() as opened:
            return await handler(opened, **arguments)

    def function(**arguments: Any) -> None:
        logs.configure(level="ERROR", json=False)
        try:
            print(uvloop.run(run(arguments)))
        except CoachError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(1) from None

    signature = inspect.signature(handler, eval_str=True)
    parameters = [*signature.parameters.values()][1:]
    function.__name__, function.__doc__ = handler.__name__, handler.__doc__
    function.__annotations__ = {one.name: one.annotation for one in parameters}
    # inspect.signature reads this attribute, and typer uses inspect.signature.
    function.__dict__["__signature__"] = signature.replace(
        parameters=parameters, return_annotation=None
    )
    return function


def admin_command(
    name: str,
    service_name: str,
    settings: type[Settings],
    build: ServiceFactory[D],
    subcommands: Mapping[str, Subcommand[D]],
    *,
    summary: str,
    example: str,
) -> Command:
    """Build a command that works on a service's database, while the service may be running.

    The handlers receive the service's `Deps`. Events they emit stay in the outbox until a running
    replica publishes them. Settings come from the environment. If DATABASE_URL is not set, they
    come from the local (embedded) installation.
    """

    @asynccontextmanager
    async def open_deps() -> AsyncIterator[D]:
        local = {} if is_set("DATABASE_URL") else local_settings(service_name)
        built = build(settings.load(**local), NullTransport())
        try:
            yield built.deps
        finally:
            await service.close(built)

    return operator_command(name, subcommands, open_deps, summary=summary, example=example)


def database_command(
    name: str,
    service_name: str,
    subcommands: Mapping[str, Subcommand["Database"]],
    *,
    summary: str,
    example: str,
) -> Command:
    """Build a command that needs the database of a service alone, while the service may be running.

    The handlers receive the `Database`, and emit no events. It is found as in `admin_command`.
    """

    @asynccontextmanager
    async def open_database() -> AsyncIterator["Database"]:
        # The gateway has this module and no SQLAlchemy.
        from coach_common.db.database import Database

        local = {} if is_set("DATABASE_URL") else local_settings(service_name)
        settings = DatabaseSettings.load(**local)
        database = Database(settings.database_address, source=service_name)
        try:
            yield database
        finally:
            await database.close()

    return operator_command(name, subcommands, open_database, summary=summary, example=example)


def is_set(setting: str) -> bool:
    """Return whether the environment contains the setting, or the name of a file with it."""
    return any(os.environ.get(name) for name in (setting, f"{setting}_FILE"))


def local_settings(service_name: str) -> dict[str, Any]:
    """Return a service's settings in the local (embedded) installation, or {} without its package.

    They come from the functions of the entry point group `coach.local_settings`.
    """
    found: dict[str, Any] = {}
    for point in entry_points(group="coach.local_settings"):
        found |= point.load()(service_name)
    return found


def service_command(
    name: str,
    settings: type[RabbitMQSettings],
    build: ServiceFactory[object],
    *,
    summary: str,
    has_tables: bool = False,
    extra_commands: Mapping[str, Command] = MappingProxyType({}),
) -> Command:
    """Build the command of a service: `serve`, and `migrate` if it has tables."""
    app = _new_group(summary, example=f"coach {name} serve")

    def run(*, is_migrated: bool, is_served: bool) -> None:
        loaded_settings = settings.load()
        logs.configure(level=loaded_settings.log_level, json=not loaded_settings.debug)
        tracing.configure(loaded_settings.otel_exporter_otlp_endpoint)
        try:
            uvloop.run(
                _run_service(loaded_settings, build, is_migrated=is_migrated, is_served=is_served)
            )
        finally:
            tracing.shutdown()

    def serve() -> None:
        """Serve HTTP and consume events until SIGINT or SIGTERM."""
        run(is_migrated=False, is_served=True)

    def serve_with_tables(
        migrate: Annotated[bool, typer.Option("--migrate", help="Migrate the database first.")] = (
            False
        ),
    ) -> None:
        """Serve HTTP and consume events until SIGINT or SIGTERM."""
        run(is_migrated=migrate, is_served=True)

    def migrate() -> None:
        """Migrate the database to the latest revision."""
        run(is_migrated=True, is_served=False)

    app.command("serve")(serve_with_tables if has_tables else serve)
    if has_tables:
        app.command("migrate")(migrate)
    for command_name, command in extra_commands.items():
        app.add_typer(command.app, name=command_name)
    return Command(f"coach {name}", app)


async def _run_service(
    settings: RabbitMQSettings,
    build: ServiceFactory[object],
    *,
    is_migrated: bool,
    is_served: bool,
) -> None:
    # Importing FastStream takes most of a second. The other commands do not need it.
    from coach_common.messaging.rabbitmq import RabbitMQTransport

    transport = RabbitMQTransport(settings.rabbitmq_address, prefetch=settings.rabbitmq_prefetch)
    built = build(settings, transport)
    if is_migrated and not await service.upgrade_when_available(built):
        return
    if is_served:
        async with service.running(built, service.listen(settings.host, settings.port)):
            await service.wait_for_shutdown()
