"""What goes over the wire is frozen: a golden sample for each event, written and read."""

import json
from pathlib import Path

import pytest

from coach_common.events.base import Envelope
from coach_common.events.catalog import CATALOG

GOLDEN = Path(__file__).parent / "golden"


def _sample(event_type: str) -> bytes:
    return (GOLDEN / f"{event_type}.json").read_bytes()


def test_every_event_has_exactly_one_sample() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(CATALOG)


@pytest.mark.parametrize("event_type", CATALOG)
def test_samples_round_trip(event_type: str) -> None:
    body = _sample(event_type)
    envelope = Envelope.from_json(body)
    event = envelope.parse_data(CATALOG[event_type])

    again = Envelope.wrap(
        event,
        id=envelope.id,
        source=envelope.source,
        time=envelope.time,
        traceparent=envelope.traceparent or "",
    )

    assert json.loads(again.to_json()) == json.loads(body)


@pytest.mark.parametrize("event_type", CATALOG)
def test_unknown_fields_are_ignored(event_type: str) -> None:
    sample = json.loads(_sample(event_type))
    sample["data"]["added_later"] = {"a": 1}
    sample["extension"] = "x"

    envelope = Envelope.from_json(json.dumps(sample))

    assert envelope.parse_data(CATALOG[event_type]) == Envelope.from_json(
        _sample(event_type)
    ).parse_data(CATALOG[event_type])


@pytest.mark.parametrize("event_type", CATALOG)
def test_missing_field_is_named_without_leaking_content(event_type: str) -> None:
    sample = json.loads(_sample(event_type))
    sample["data"].pop("user_id")

    with pytest.raises(Exception, match="user_id") as refused:
        Envelope.from_json(json.dumps(sample)).parse_data(CATALOG[event_type])

    for value in sample["data"].values():
        assert not isinstance(value, str) or len(value) < 4 or value not in str(refused.value)
