"""Events and their CloudEvents 1.0 envelope, as stored in outboxes and sent to the broker."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from coach_common.errors import InvalidInput
from coach_common.validation import describe_first_error


class Event(BaseModel):
    """A fact in the past tense. Fields may be added with a default; none is renamed or retyped."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    type: ClassVar[str]
    """The CloudEvents type and the routing key."""
    source: ClassVar[str]
    """The service that publishes it. An event from another source is dead-lettered."""
    consumers: ClassVar[tuple[str, ...]] = ()
    """The services that consume it. Each has one durable queue for it."""

    @property
    def subject(self) -> str:
        """The id in the first field: what the event is about."""
        return str(getattr(self, next(iter(type(self).model_fields))))


EventClass = type[Event]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A CloudEvents 1.0 event in structured mode."""

    id: UUID
    type: str
    source: str
    subject: str
    time: str
    traceparent: str | None
    data: dict[str, Any]

    @classmethod
    def wrap(
        cls, event: Event, *, id: UUID, source: str, time: str, traceparent: str
    ) -> "Envelope":
        """Return `event` in an envelope."""
        return cls(
            id=id,
            type=event.type,
            source=source,
            subject=event.subject,
            time=time,
            traceparent=traceparent,
            data=event.model_dump(mode="json"),
        )

    def to_json(self) -> bytes:
        """Return the structured JSON form."""
        return (
            _CloudEventJson.model_construct(
                specversion="1.0",
                id=str(self.id),
                type=self.type,
                source=self.source,
                subject=self.subject,
                time=self.time,
                datacontenttype="application/json",
                traceparent=self.traceparent,
                data=self.data,
            )
            .model_dump_json(exclude_none=False)
            .encode()
        )

    @classmethod
    def from_json(cls, body: bytes | str) -> "Envelope":
        """Parse the structured JSON form.

        Raises:
            InvalidInput: If it is not a CloudEvents 1.0 event. The message quotes no content.
        """
        try:
            wire = _CloudEventJson.model_validate_json(body)
            event_id = UUID(wire.id)
        except (ValidationError, ValueError) as error:
            raise InvalidInput(f"not a CloudEvents 1.0 event ({type(error).__name__})") from None
        if wire.specversion != "1.0":
            raise InvalidInput("specversion is not 1.0")
        return cls(
            id=event_id,
            type=wire.type,
            source=wire.source,
            subject=wire.subject,
            time=wire.time,
            traceparent=wire.traceparent,
            data=wire.data,
        )

    def parse_data(self, event_class: EventClass) -> Event:
        """Return the data as an event.

        Raises:
            InvalidInput: If the data is invalid. The message names the field, not its content.
        """
        try:
            return event_class.model_validate(self.data)
        except ValidationError as error:
            field, message = describe_first_error(error)
            raise InvalidInput(f"{self.type}: {field}: {message}") from None


class _CloudEventJson(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    specversion: str
    id: str
    type: str
    source: str
    subject: str = ""
    time: str = ""
    datacontenttype: str = "application/json"
    traceparent: str | None = None
    data: dict[str, Any]
