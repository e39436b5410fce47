"""A golden sample of each event fixes the wire format, for publishers and for consumers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from coach_common.events.base import Envelope
from coach_common.events.catalog import CATALOG
from coach_common.events.feedback import (
    DeliveryMetrics,
    EvidenceItem,
    FeedbackView,
    FilledPauses,
    MainImprovement,
    MetricValue,
    StarStory,
)

GOLDEN = Path(__file__).parent / "golden"
OPTIONAL_FIELDS = {
    # Only if there is no value.
    "MetricValue.reason",
    "FilledPauses.reason",
    # Only if there is a value.
    "FilledPauses.in_words",
    "FilledPauses.in_sound",
    "FilledPauses.confidence",
    "FilledPauses.moments",
    # Only if the part is in another language.
    "AudioGap.language",
    # Only if nothing could be measured; then nothing else is present.
    "DeliveryMetrics.status",
    "DeliveryMetrics.reason",
    # Only if the question asked for a story and the answer was scored.
    "StarStory.situation",
    "StarStory.task",
    "StarStory.action",
    "StarStory.result",
}


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
    fields = CATALOG[event_type].model_fields
    name = "user_id" if "user_id" in fields else next(iter(fields))
    sample["data"].pop(name)

    with pytest.raises(Exception, match=name) as refused:
        Envelope.from_json(json.dumps(sample)).parse_data(CATALOG[event_type])

    for value in sample["data"].values():
        assert not isinstance(value, str) or len(value) < 4 or value not in str(refused.value)


@pytest.mark.parametrize("event_type", CATALOG)
def test_sample_has_every_field_of_its_models(event_type: str) -> None:
    data = json.loads(_sample(event_type))["data"]

    missing = {
        field for model, value in _instances(CATALOG[event_type], data)
        for field in _fields(model) if field.partition(".")[2] not in value
    }  # fmt: skip

    assert missing <= OPTIONAL_FIELDS


def test_every_optional_field_and_model_is_in_some_sample() -> None:
    seen: set[str] = set()
    models: set[type[BaseModel]] = set()
    samples = [(CATALOG[kind], json.loads(_sample(kind))["data"]) for kind in CATALOG]
    samples += [
        (DeliveryMetrics, json.loads(path.read_text()))
        for path in GOLDEN.parent.glob("feedback_samples/delivery_*.json")
    ]
    for root, data in samples:
        for model, value in _instances(root, data):
            models.add(model)
            seen |= {f"{model.__name__}.{name}" for name in value}

    assert seen >= OPTIONAL_FIELDS
    assert models >= {
        *CATALOG.values(), FeedbackView, DeliveryMetrics, MetricValue, FilledPauses, EvidenceItem,
        MainImprovement, StarStory,
    }  # fmt: skip


def _instances(
    model: type[BaseModel], value: dict[str, Any]
) -> Iterator[tuple[type[BaseModel], dict[str, Any]]]:
    """Yield every JSON object below `value` with the model that describes it."""
    yield model, value
    for name, field in model.model_fields.items():
        nested = _nested_model(field.annotation)
        found = value.get(name)
        if nested is not None and found is not None:
            for one in found if isinstance(found, list) else [found]:
                yield from _instances(nested, one)


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = map(_nested_model, get_args(annotation))
    return next((model for model in found if model is not None), None)


def _fields(model: type[BaseModel]) -> set[str]:
    return {f"{model.__name__}.{name}" for name in model.model_fields}
