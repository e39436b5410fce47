"""Feedback and delivery metrics: the models that events, the HTTP API and the socket share.

All models ignore unknown keys, so code that is one release older can read newer documents.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
"""A JSON number. An integer stays an integer when it is serialized again."""

Score = Annotated[int, Field(ge=0, le=100)]
"""A score from 0 to 100."""


def _known_values(*values: str) -> Callable[[dict[str, Any]], None]:
    """Document the values of a string. Validation accepts others: a newer release may add one."""

    def add_enum(schema: dict[str, Any]) -> None:
        schema["enum"] = list(values)

    return add_enum


def _always_present(*fields: str) -> ConfigDict:
    """Document fields as required. Validation gives them a default: older data may lack them."""
    return ConfigDict(json_schema_extra={"required": list(fields)})


Verdict = Annotated[
    str,
    Field(
        json_schema_extra=_known_values("below", "inside", "above", "report_only", "not_measurable")
    ),
]
EvidenceKind = Annotated[str, Field(json_schema_extra=_known_values("strength", "improvement"))]
FeedbackStatus = Annotated[
    str,
    Field(
        json_schema_extra=_known_values(
            "not_completed", "waiting_for_recording", "transcribing", "scoring", "ready", "failed"
        )
    ),
]


class FeedbackModel(BaseModel):
    """Base of the models here: immutable, tolerant of unknown keys."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class SparseModel(FeedbackModel):
    """A model that is serialized with only the keys it was created with.

    A key that was absent stays absent, and a null stays a null.
    """

    @model_serializer(mode="wrap")
    def _serialize_set_fields(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        serialized: dict[str, Any] = serialize(self)
        return {name: serialized[name] for name in serialized if name in self.model_fields_set}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # Without its serializer the schema describes the fields instead of "any object".
        fields = {key: value for key, value in core_schema.items() if key != "serialization"}
        return handler(fields)


class MetricValue(SparseModel):
    """One delivery metric: its value, and how the value compares with the usual range."""

    model_config = _always_present("value", "unit", "band", "verdict", "source", "n")

    value: Number | None = Field(
        default=None, description="null if the metric could not be measured"
    )
    unit: str = Field(default="", examples=["words/min"])
    band: list[Number] | None = Field(
        default=None,
        description="lower and upper limit of the usual range; null if no range is known",
        min_length=2,
        max_length=2,
    )
    verdict: Verdict = Field(default="report_only", description="`value` compared with `band`")
    source: str = Field(default="", description="origin of the range or of the method")
    n: int = Field(default=0, description="number of observations behind the value")
    reason: str | None = Field(
        default=None, description="why there is no value; present only if `value` is null"
    )


class FilledPauses(MetricValue):
    """Filled pauses ("um", "uh") per minute, with the time of each."""

    in_words: int | None = Field(default=None, description="number found in the transcript")
    in_sound: int | None = Field(default=None, description="number found in the audio only")
    confidence: str | None = Field(default=None, examples=["low"])
    moments: list[Annotated[list[Number], Field(min_length=2, max_length=2)]] | None = Field(
        default=None, description="start and end of each, in seconds from the recording's start"
    )


class DeliveryMetrics(SparseModel):
    """How an answer was spoken. Empty if nothing was measured yet.

    If the recording cannot be measured, only `status` and `reason` are present.
    """

    status: str | None = Field(
        default=None,
        description="present only if nothing could be measured",
        json_schema_extra=_known_values("not_measurable"),
    )
    reason: str | None = Field(default=None, description="why nothing could be measured")
    pace: MetricValue | None = None
    pace_steadiness: MetricValue | None = None
    silent_pauses: MetricValue | None = None
    pause_length: MetricValue | None = None
    long_pauses: MetricValue | None = None
    phonation_ratio: MetricValue | None = None
    articulation_rate: MetricValue | None = None
    pauses_inside_clauses: MetricValue | None = None
    mean_length_of_run: MetricValue | None = None
    discourse_fillers: MetricValue | None = None
    filled_pauses: FilledPauses | None = None
    pitch_variation: MetricValue | None = None
    loudness: MetricValue | None = None
    over_noise: MetricValue | None = None
    clipping: MetricValue | None = None
    response_latency: MetricValue | None = None
    answer_length: MetricValue | None = None


class AudioGap(SparseModel):
    """A part of a recording that was not transcribed."""

    model_config = _always_present("start", "end", "reason")

    start: Number = Field(default=0, description="seconds from the recording's start")
    end: Number = Field(default=0, description="seconds from the recording's start")
    reason: str = Field(
        default="missing",
        description=(
            "`damaged`: the data cannot be decoded; `missing`: the file has no data for this time;"
            " `too_long`: after the first 30 minutes; `other_language`: not in English"
        ),
        json_schema_extra=_known_values("damaged", "missing", "too_long", "other_language"),
    )
    language: str | None = Field(
        default=None, description="ISO 639-1 code; present only for `other_language`"
    )


class AudioCoverage(FeedbackModel):
    """How much of a recording was transcribed."""

    duration_seconds: Number = Field(description="length of the recording, gaps included")
    heard_seconds: Number = Field(description="length of the audio that was transcribed")
    gaps: list[AudioGap] = Field(default_factory=list)


class TranscribedWord(FeedbackModel):
    """A word of the transcript with its time."""

    text: str
    start: Number = Field(description="seconds from the recording's start")
    end: Number = Field(description="seconds from the recording's start")


class EvidenceItem(SparseModel):
    """A remark with the words of the transcript that support it."""

    model_config = _always_present(
        "kind", "dimension", "text", "quote", "start_seconds", "end_seconds"
    )

    kind: EvidenceKind = "improvement"
    dimension: str = Field(default="", examples=["structure"])
    text: str = ""
    quote: str = Field(default="", description="words of the transcript, verbatim")
    start_seconds: Number | None = Field(
        default=None, description="null if the transcript has no word times"
    )
    end_seconds: Number | None = None


class MainImprovement(FeedbackModel):
    """The most important improvement: advice, supporting quote, exercise."""

    text: str
    quote: str
    drill: str


class StarStory(SparseModel):
    """The parts of a STAR story, each with its quote, or null if the part is missing.

    Empty if the question did not ask for a story or the answer was not scored.
    """

    situation: str | None = None
    task: str | None = None
    action: str | None = None
    result: str | None = None


QuestionType = Annotated[
    str,
    Field(
        description=(
            "`story`: an experience; `knowledge`: facts that are right or wrong; `case`: a problem"
            " to work on, system design included; `motive`: reasons and plans; `about_you`: the"
            " candidate"
        ),
        json_schema_extra=_known_values("story", "knowledge", "case", "motive", "about_you"),
    ),
]
Seniority = Annotated[str, Field(json_schema_extra=_known_values("junior", "mid", "senior"))]


class PointCoverage(FeedbackModel):
    """An expected point of the question, and how the answer treats it."""

    model_config = _always_present(
        "id",
        "text",
        "importance",
        "status",
        "quote",
        "start_seconds",
        "end_seconds",
        "misconception",
    )

    id: str = Field(default="", description="stable within the question")
    text: str = Field(default="", description="what a good answer contains")
    importance: str = Field(
        default="must",
        description="`must`: a good answer contains it; `bonus`: a very good one does",
        json_schema_extra=_known_values("must", "bonus"),
    )
    status: str = Field(
        default="missing",
        json_schema_extra=_known_values("covered", "partly", "missing", "contradicted"),
    )
    quote: str | None = Field(
        default=None, description="words of the transcript, verbatim; null for a missing point"
    )
    start_seconds: Number | None = Field(
        default=None, description="null if the transcript has no word times"
    )
    end_seconds: Number | None = None
    misconception: str | None = Field(
        default=None,
        description="the wrong statement behind a `contradicted` point, in plain words; else null",
    )


class DimensionLevel(FeedbackModel):
    """The level of one dimension of the rubric."""

    model_config = _always_present("name", "level", "weight")

    name: str = Field(default="", examples=["structure"])
    level: Number | None = Field(
        default=None, description="1 to 5, may have a fraction; null if it was not scored"
    )
    weight: Number = Field(default=0, description="share of `overall_score`, 0 to 1")


# FastAPI removes null values from examples, so this one has none.
DISPUTE_EXAMPLE: JsonDict = {
    "status": "done",
    "created_at": "2026-11-24T12:10:00.250000Z",
    "second_scores": {
        "overall_score": 79,
        "communication_score": 90,
        "technical_score": 70,
        "clarity_score": 94,
        "provider": "openai",
        "model": "gpt-5-mini",
    },
    "difference": -2,
    "spread": 3,
    "outcome": "confirmed",
    "text": "The second scoring gives 79 points, the first one 81.",
}
FEEDBACK_EXAMPLE: JsonDict = {
    "session_id": "01a20c8d-0000-7000-8000-000000000002",
    "status": "ready",
    "overall_score": 81,
    "communication_score": 91,
    "technical_score": 74,
    "clarity_score": 95,
    "strengths": ["You name a result that can be measured."],
    "improvements": ["Say what was yours to do."],
    "detailed_feedback": "I found the situation, the task, the action and the result.",
    "transcript": "At my last job I was asked to sort it out. I wrote a list. It took two days.",
    "provider": "openai",
    "model": "gpt-5-mini",
    "rubric_version": "3.0.0",
    "evidence": [
        {
            "kind": "strength",
            "dimension": "specificity",
            "text": "You name a result that can be measured.",
            "quote": "It took two days.",
            "start_seconds": 22.74,
            "end_seconds": 30.84,
        }
    ],
    "delivery": {
        "pace": {
            "value": 148.2,
            "unit": "words/min",
            "band": [110, 190],
            "verdict": "inside",
            "source": "Read.ai",
            "n": 296,
        }
    },
    "main_improvement": {
        "text": "Say what was yours to do.",
        "quote": "I was asked to sort it out.",
        "drill": "Finish this sentence aloud three times: “My job was to …”.",
    },
    "star": {
        "situation": "At my last job",
        "task": "I was asked to sort it out.",
        "action": "I wrote a list.",
        "result": "It took two days.",
    },
    "audio": {"duration_seconds": 61.5, "heard_seconds": 61.5, "gaps": []},
    "points": [],
    "dimensions": [{"name": "structure", "level": 4.5, "weight": 0.25}],
    "score_spread": 3,
    "prompt_version": "6f1d2c9a",
    "question_type": "story",
    "seniority": "mid",
    "generated_at": "2026-11-24T12:03:10.250000Z",
    "dispute": DISPUTE_EXAMPLE,
}


class SecondScores(FeedbackModel):
    """The scores of the second scoring."""

    overall_score: Score | None
    communication_score: Score | None
    technical_score: Score | None
    clarity_score: Score | None
    provider: str
    model: str


class DisputeView(FeedbackModel):
    """A disputed score with its second scoring. The first score stays."""

    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True,
        json_schema_extra={"examples": [DISPUTE_EXAMPLE]},
    )

    status: str = Field(json_schema_extra=_known_values("scoring", "done", "failed"))
    created_at: datetime
    second_scores: SecondScores | None = None
    difference: int | None = Field(
        default=None, description="points of the second overall score minus those of the first"
    )
    spread: Number | None = Field(
        default=None, description="points by which scorings of the same answer differ"
    )
    outcome: str | None = Field(
        default=None,
        description="`changed` if the difference is larger than `spread`, else `confirmed`; null"
        " until the second scoring is done",
    )
    text: str = Field(description="the state or the result, in sentences")


class FeedbackView(FeedbackModel):
    """Feedback of a session.

    Scores are null until scoring has finished, and stay null when the answer cannot be scored.
    """

    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True,
        json_schema_extra={"examples": [FEEDBACK_EXAMPLE]},
    )

    session_id: str = Field(json_schema_extra={"format": "uuid"})
    status: FeedbackStatus
    overall_score: Score | None = None
    communication_score: Score | None = None
    technical_score: Score | None = None
    clarity_score: Score | None = None
    strengths: list[str] = Field(default_factory=list)
    improvements: list[str] = Field(default_factory=list)
    detailed_feedback: str = Field(
        default="", description="summary, or what the session is waiting for, in sentences"
    )
    transcript: str | None = None
    provider: str | None = None
    model: str | None = None
    rubric_version: str | None = None
    evidence: list[EvidenceItem] = Field(default_factory=list)
    delivery: DeliveryMetrics = Field(default_factory=DeliveryMetrics)
    main_improvement: MainImprovement | None = None
    star: StarStory = Field(default_factory=StarStory)
    audio: AudioCoverage | None = Field(
        default=None, description="null if the answer was not scored from a recording"
    )
    points: list[PointCoverage] = Field(
        default_factory=list,
        description="coverage of the expected points; empty if the question has none",
    )
    dimensions: list[DimensionLevel] = Field(
        default_factory=list, description="empty if the answer was not scored"
    )
    score_spread: Number | None = Field(
        default=None,
        description="by how many points `overall_score` differs if the answer is scored again;"
        " null if it was not measured",
    )
    prompt_version: str | None = Field(
        default=None, description="version of the language model's prompt; null without one"
    )
    question_type: QuestionType | None = Field(
        default=None, description="the type that the question was scored as"
    )
    seniority: Seniority | None = Field(
        default=None, description="the level that the answer was scored for"
    )
    generated_at: datetime | None = None
    dispute: DisputeView | None = Field(
        default=None, description="null if the user has not disputed the score"
    )
