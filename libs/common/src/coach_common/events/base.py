"""An event and its CloudEvents 1.0 envelope, as it stands in outboxes and on the wire."""

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from coach_common.errors import InvalidInput


class Event(BaseModel):
    """A fact, past tense. Fields may be added, with a default; none renamed or retyped."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    type: ClassVar[str]
    """The name on the wire and the routing key."""
    consumers: ClassVar[tuple[str, ...]] = ()
    """The services that act on it: each has one durable queue for it."""

    @property
    def subject(self) -> str:
        """What the event is about: the value of its first field, an id."""
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
        """Put `event` into an envelope."""
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
        """Read the structured JSON form; raise Invalid, never quoting the content."""
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
        """Return the data as `kind`; raise Invalid naming the field, never its content."""
        try:
            return event_class.model_validate(self.data)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"{self.type}: {field}: {first['msg']}") from None


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
