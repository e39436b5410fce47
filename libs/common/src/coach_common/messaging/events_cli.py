"""`coach events dead list | show | replay | drop`, on the broker that the settings name."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from coach_common.cli import Subcommand, command_group, is_set, local_settings, operator_command
from coach_common.config import RabbitMQSettings, SettingsError
from coach_common.errors import InvalidInput, NotFound
from coach_common.messaging.dead_letters import DeadLetter, DeadLetters, Selection, redact
from coach_common.messaging.subscriptions import durable_queues

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of events.")]
Queue = Annotated[str | None, typer.Option(help="Only this work queue.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]


async def list_dead_letters(
    dead_letters: DeadLetters,
    *,
    queue: Queue = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> str:
    """List dead letters: count, oldest and reason by queue, then each with its id."""
    letters = await dead_letters.find(_select(queue=queue))
    if as_json:
        return json.dumps([_summary(one) for one in letters], indent=2)
    if not letters:
        return "There are no dead letters."
    counts = Counter(one.queue for one in letters)
    lines = [f"{count:>6}  {name}" for name, count in counts.most_common()]
    lines.append("")
    lines += [
        f"{_time(one.dead_at):<20}  {one.id or '-'!s:<36}  {one.queue}  {one.reason}"
        for one in letters
    ]
    return "\n".join(lines)


async def show_dead_letter(
    dead_letters: DeadLetters,
    event_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")],
    *,
    body: Annotated[bool, typer.Option("--body", help="Also print what a person wrote.")] = False,
) -> str:
    """Show a dead letter. Texts are replaced by their length unless --body is given."""
    letters = await dead_letters.find(_select([event_id]))
    if not letters:
        raise NotFound(f"There is no dead letter with the id {event_id}.")
    shown = []
    for one in letters:
        data = {} if one.event is None else one.event.data
        shown.append(_summary(one) | {"data": data if body else redact(data)})
    return json.dumps(shown, indent=2, ensure_ascii=False)


async def replay_dead_letters(
    dead_letters: DeadLetters, ids: Ids = None, *, queue: Queue = None, all_: All = False
) -> str:
    """Return dead letters to their consumers, by ID, --queue or --all. Their attempts start again.

    Replay within 30 days: later, what was deleted meanwhile is no longer known.
    """
    count = await dead_letters.replay(_select_some(ids, queue, is_all=all_))
    if count == 1:
        return "1 dead letter was returned to its queue."
    return f"{count} dead letters were returned to their queues."


async def drop_dead_letters(
    dead_letters: DeadLetters,
    ids: Ids = None,
    *,
    queue: Queue = None,
    all_: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> str:
    """Delete dead letters for good, by ID, --queue or --all."""
    selection = _select_some(ids, queue, is_all=all_)
    if not yes:
        count = len(await dead_letters.find(selection))
        letters = "dead letter" if count == 1 else "dead letters"
        typer.confirm(f"Delete {count} {letters} for good?", abort=True)
    count = await dead_letters.drop(selection)
    return "1 dead letter was deleted." if count == 1 else f"{count} dead letters were deleted."


def _select_some(ids: list[str] | None, queue: str | None, *, is_all: bool) -> Selection:
    if not ids and queue is None and not is_all:
        raise InvalidInput("Name ids, --queue or --all.")
    return _select(ids, queue)


def _select(ids: list[str] | None = None, queue: str | None = None) -> Selection:
    if queue is not None and queue not in durable_queues():
        raise InvalidInput(f"There is no queue {queue}. `coach events dead list` shows the queues.")
    return Selection(queue, {_parse(one) for one in ids} if ids else None)


def _parse(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(f"{text} is not the id of an event.") from None


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": None if letter.id is None else str(letter.id),
        "type": letter.type,
        "queue": letter.queue,
        "reason": letter.reason,
        "dead_at": None if letter.dead_at is None else letter.dead_at.isoformat(),
    }


def _time(time: datetime | None) -> str:
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


@asynccontextmanager
async def _open() -> AsyncIterator[DeadLetters]:
    # An image has the packages of one broker only.
    if is_set("RABBITMQ_URL"):
        from coach_common.messaging.rabbitmq_dead_letters import RabbitMQDeadLetters

        yield RabbitMQDeadLetters(RabbitMQSettings.load().rabbitmq_address)
    else:
        from coach_common.messaging.sqlite_dead_letters import open_sqlite_dead_letters

        settings = local_settings("broker")
        if not settings:
            raise SettingsError("setting RABBITMQ_URL: not set")
        async with open_sqlite_dead_letters(settings["database_url"]) as local:
            yield local


main = command_group(
    "events",
    {
        "dead": operator_command(
            "events dead",
            {
                "list": Subcommand(list_dead_letters),
                "show": Subcommand(show_dead_letter),
                "replay": Subcommand(replay_dead_letters),
                "drop": Subcommand(drop_dead_letters),
            },
            _open,
            summary="List, show, replay and drop events that a consumer could not apply.",
            example="replay --queue sessions.transcription.completed",
        )
    },
    summary="Inspect events.",
    example="dead list",
)
