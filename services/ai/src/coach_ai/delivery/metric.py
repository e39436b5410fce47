"""One figure of delivery: its value against its band, or why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Metric = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """What a figure is measured in, the band in which nothing is said of it, and whose band."""

    unit: str
    source: str
    band: tuple[float, float] | None = None

    def of(self, value: float, n: int, **more: object) -> Metric:
        """Return {value, unit, band, verdict, source, n}; `n` is what the value rests on."""
        digits = 2 if abs(value) >= 1 else 3
        return self._shown(round(value, digits), self._verdict(value), n) | more

    def missing(self, reason: str) -> Metric:
        """Return the figure without a value, and why."""
        return self._shown(None, "not_measurable", 0) | {"reason": reason}

    def _shown(self, value: float | None, verdict: str, n: int) -> Metric:
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


PACE = Scale(
    "words/min", "Read.ai, Speech Away: 130-175 usual; notes begin outside 110-190", (110, 190)
)
PACE_STEADINESS = Scale("SD/mean over 15 s windows", "Orai scores variation; no band is known")
ARTICULATION = Scale(
    "syllables/s",
    "Jacewicz 2009: 3.3-5.9 observed; syllables estimated by groups of vowels",
    (3.3, 5.9),
)
SILENT_PAUSES = Scale("per min", "Hincks 2005: pauses from 250 ms")
PAUSE_LENGTH = Scale("s", "log-median of pauses from 250 ms: their lengths are log-normal")
LONG_PAUSES = Scale("count", "ours: over 2 s", (0, 3))
INSIDE_CLAUSES = Scale(
    "share of pauses",
    "Kahng: pauses inside a clause go with how fluent a speaker is found; no band is known;"
    " clauses are told by punctuation and conjunctions",
)
RUN = Scale("syllables between pauses", "Hincks 2005: mean length of run; no band is known")
PHONATION = Scale("share of time", "De Jong: speech time / span; no band is known")
DISCOURSE_FILLERS = Scale("per 100 words", "Read.ai: under 4 %", (0, 4))
FILLED_PAUSES = Scale(
    "per min, at least",
    "Laske & DiGennaro Reed 2024: up to 5; speech recognition leaves most out,"
    " so held vowels between words are counted too",
    (0, 5),
)
PITCH_VARIATION = Scale(
    "SD/mean of F0 over 10 s",
    "Hincks 2004: 0.06-0.36 observed in windows; below 0.10 is flat: our reading",
    (0.10, 0.36),
)
LOUDNESS = Scale("dBFS", "median level of speech; depends on the device, never scored")
NOISE = Scale("dB", "speech over the quietest twentieth; under 6 dB nothing is told from sound")
CLIPPING = Scale("% of samples", "at full scale; over 1 % nothing is told from sound: ours")
LATENCY = Scale("s", "from the recording's start to the first word; never scored")
LENGTH = Scale("s", "superpowerresume, velyq: 60-120; over 180 rambles", (45, 180))


WAITING = "waiting for the transcript"


def not_measurable(reason: str) -> dict[str, Any]:
    """Return what stands in the place of all figures."""
    return {"status": "not_measurable", "reason": reason}


def missing(scales: Sequence[tuple[str, Scale]], reason: str) -> dict[str, Metric]:
    """Return several figures without a value, for one reason."""
    return {name: scale.missing(reason) for name, scale in scales}
