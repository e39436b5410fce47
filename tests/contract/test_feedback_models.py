"""The feedback models do not change the wire format.

The files in `feedback_samples` are real output: `feedback_*` and `delivery_*` of the local scorer
and the delivery measurement, `view_*` of the feedback route, all recorded as plain dictionaries
before the models existed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from coach_common.events.catalog import DeliveryMeasured, FeedbackGenerated, SessionJudged
from coach_common.events.feedback import DeliveryMetrics, FeedbackView
from coach_common.ids import new_id

SAMPLES = Path(__file__).parent / "feedback_samples"
FEEDBACK = sorted(path.stem for path in SAMPLES.glob("feedback_*.json"))
DELIVERY = sorted(path.stem for path in SAMPLES.glob("delivery_*.json"))
ADDED_SCORING_FIELDS = {
    "points", "dimensions", "score_spread", "prompt_version", "question_type", "seniority",
}  # fmt: skip
ADDED_EVENT_FIELDS = {"transcript", "key", "audio"} | ADDED_SCORING_FIELDS
ADDED_VIEW_FIELDS = {"audio", "dispute"} | ADDED_SCORING_FIELDS
"""Fields that are newer than the samples. All other fields must be exactly as recorded."""
VIEWS = sorted(path.stem for path in SAMPLES.glob("view_*.json"))


def _load(name: str) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return sample


def _canonical(document: object) -> str:
    """Return the JSON text with sorted keys: 1 and 1.0 differ, an absent key differs from null."""
    return json.dumps(document, sort_keys=True)


@pytest.mark.parametrize("name", FEEDBACK)
def test_feedback_generated_keeps_real_scorer_output(name: str) -> None:
    sample = _load(name)

    event = FeedbackGenerated(session_id=new_id(), user_id=new_id(), **sample)

    written = event.model_dump(mode="json", exclude={"session_id", "user_id"} | ADDED_EVENT_FIELDS)
    assert _canonical(written) == _canonical(sample)


@pytest.mark.parametrize("name", DELIVERY)
def test_delivery_measured_keeps_real_metrics(name: str) -> None:
    sample = _load(name)

    event = DeliveryMeasured(upload_id=new_id(), user_id=new_id(), key="k", delivery=sample)

    assert _canonical(event.model_dump(mode="json")["delivery"]) == _canonical(sample)


@pytest.mark.parametrize("name", VIEWS)
def test_feedback_view_keeps_real_responses(name: str) -> None:
    sample = _load(name)

    event = SessionJudged(session_id=new_id(), user_id=new_id(), feedback=sample)

    view = event.feedback.model_dump(mode="json", exclude=ADDED_VIEW_FIELDS)
    assert _canonical(view) == _canonical(sample)
    written = json.loads(event.feedback.model_dump_json(exclude=ADDED_VIEW_FIELDS))
    assert _canonical(written) == _canonical(sample)


def test_empty_delivery_and_story_stay_empty() -> None:
    view = FeedbackView(session_id="s", status="not_completed").model_dump(mode="json")

    assert (view["delivery"], view["star"]) == ({}, {})


def test_unknown_keys_are_ignored_at_every_level() -> None:
    sample = _load("view_ready")
    newer = json.loads(json.dumps(sample))
    newer["added_later"] = {"a": 1}
    newer["delivery"]["added_later"] = {"value": 1}
    newer["delivery"]["pace"]["added_later"] = [1]
    newer["evidence"][0]["added_later"] = "x"
    newer["star"]["added_later"] = "x"

    view = FeedbackView.model_validate(newer)
    assert view.model_dump(mode="json", exclude=ADDED_VIEW_FIELDS) == sample


def test_unknown_verdict_of_newer_release_is_accepted() -> None:
    newer = {"pace": {"value": 1, "verdict": "added_later"}}

    assert DeliveryMetrics.model_validate(newer).model_dump(mode="json") == newer


@pytest.mark.parametrize("model", [FeedbackView, DeliveryMetrics])
def test_response_schema_has_no_free_form_object(model: type[BaseModel]) -> None:
    schema = json.dumps(model.model_json_schema(mode="serialization"))

    assert '"additionalProperties": true' not in schema
    assert '"type": "object", "title"' not in schema
