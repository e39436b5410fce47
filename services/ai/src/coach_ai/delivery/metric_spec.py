"""Specifications of the delivery metrics, and the JSON form of a metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Metric = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """Unit, source and band of a metric. Values inside the band are not commented on."""

    unit: str
    source: str
    band: tuple[float, float] | None = None

    def value(self, value: float, n: int, **extra: object) -> Metric:
        """Return {value, unit, band, verdict, source, n}. `n` is the number of observations."""
        digits = 2 if abs(value) >= 1 else 3
        return self._metric(round(value, digits), self._verdict(value), n) | extra

    def not_measurable(self, reason: str) -> Metric:
        """Return the metric without a value, with the reason."""
        return self._metric(None, "not_measurable", 0) | {"reason": reason}

    def _metric(self, value: float | None, verdict: str, n: int) -> Metric:
        return {
            "value": value,
            "unit": self.unit,
            "band": None if self.band is None else list(self.band),
            "verdict": verdict,
            "source": self.source,
            "n": n,
        }

    def _verdict(self, value: float) -> str:
        if self.band is None:
            return "report_only"
        if value < self.band[0]:
            return "below"
        return "above" if value > self.band[1] else "inside"


PACE = MetricSpec(
    "words/min", "Read.ai, Speech Away: 130-175 usual; notes begin outside 110-190", (110, 190)
)
PACE_STEADINESS = MetricSpec("SD/mean over 15 s windows", "Orai scores variation; no band is known")
ARTICULATION_RATE = MetricSpec(
    "syllables/s",
    "Jacewicz 2009: 3.3-5.9 observed; syllables estimated by groups of vowels",
    (3.3, 5.9),
)
SILENT_PAUSES = MetricSpec("per min", "Hincks 2005: pauses from 250 ms")
PAUSE_LENGTH = MetricSpec("s", "log-median of pauses from 250 ms: their lengths are log-normal")
LONG_PAUSES = MetricSpec("count", "pauses over 2 s (our threshold)", (0, 3))
PAUSES_INSIDE_CLAUSES = MetricSpec(
    "share of pauses",
    "Kahng: pauses inside a clause go with how fluent a speaker is found; no band is known;"
    " clauses are told by punctuation and conjunctions",
)
MEAN_LENGTH_OF_RUN = MetricSpec(
    "syllables between pauses", "Hincks 2005: mean length of run; no band is known"
)
PHONATION_RATIO = MetricSpec("share of time", "De Jong: speech time / span; no band is known")
DISCOURSE_FILLERS = MetricSpec("per 100 words", "Read.ai: under 4 %", (0, 4))
FILLED_PAUSES = MetricSpec(
    "per min, at least",
    "Laske & DiGennaro Reed 2024: up to 5; speech recognition leaves most out,"
    " so held vowels between words are counted too",
    (0, 5),
)
PITCH_VARIATION = MetricSpec(
    "SD/mean of F0 over 10 s",
    "Hincks 2004: 0.06-0.36 observed in windows; below 0.10 is flat: our reading",
    (0.10, 0.36),
)
LOUDNESS = MetricSpec("dBFS", "median level of speech; depends on the device, never scored")
SPEECH_OVER_NOISE = MetricSpec("dB", "speech over the 5th percentile; acoustic metrics need 6 dB")
CLIPPING = MetricSpec(
    "% of samples", "at full scale; acoustic metrics need 1 % or less (our threshold)"
)
RESPONSE_LATENCY = MetricSpec("s", "from the recording's start to the first word; never scored")
ANSWER_LENGTH = MetricSpec("s", "superpowerresume, velyq: 60-120; over 180 rambles", (45, 180))


WAITING_FOR_TRANSCRIPT = "waiting for the transcript"


def not_measurable(reason: str) -> dict[str, Any]:
    """Return the JSON form of an answer without any metrics."""
    return {"status": "not_measurable", "reason": reason}


def all_not_measurable(specs: Sequence[tuple[str, MetricSpec]], reason: str) -> dict[str, Metric]:
    """Return several metrics without a value, for one reason."""
    return {name: spec.not_measurable(reason) for name, spec in specs}
