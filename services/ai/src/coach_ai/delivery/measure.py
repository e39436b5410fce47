"""The figures of one answer.

Bands, not perfection: inside its band nothing is said about a figure. Pauses come from the
audio's energy (`silences`), never from gaps between a recogniser's words, which hide them.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from coach_ai.delivery import metric
from coach_ai.delivery.fillers import FILLED_PAUSES, find_fillers, hums_between
from coach_ai.delivery.metric import Metric
from coach_ai.delivery.words import count_syllables, span_of, token_of
from coach_ai.domain import Answer, Silence, Sound, SoundTrack, Transcript, Word

MIN_SECONDS = 20.0
MIN_WORDS = 40

_PAUSE_SECONDS = 0.25
_LONG_PAUSE_SECONDS = 2.0
_WINDOW_SECONDS = 15.0
_LEAST_OVER_NOISE_DB = 6.0
_MOST_CLIPPED = 0.01
_EDGE_SECONDS = 0.02
_NO_PAUSE = "nothing was paused for 250 ms"
_CLAUSE_ENDS = (",", ".", ";", ":", "?", "!", "—", "…")
_CLAUSE_BEGINS = frozenset(
    ("and", "but", "or", "so", "because", "which", "who", "when", "while", "if", "although",
     "though", "since", "until", "where", "whereas", "then")
)  # fmt: skip


_OF_WORDS = (
    ("pace", metric.PACE),
    ("pace_steadiness", metric.PACE_STEADINESS),
    ("articulation_rate", metric.ARTICULATION),
    ("pauses_inside_clauses", metric.INSIDE_CLAUSES),
    ("mean_length_of_run", metric.RUN),
    ("discourse_fillers", metric.DISCOURSE_FILLERS),
    ("filled_pauses", metric.FILLED_PAUSES),
)
_OF_SILENCE = (
    ("silent_pauses", metric.SILENT_PAUSES),
    ("pause_length", metric.PAUSE_LENGTH),
    ("long_pauses", metric.LONG_PAUSES),
    ("phonation_ratio", metric.PHONATION),
)


def measure_sound(track: SoundTrack) -> dict[str, Any] | None:
    """Return the figures that need no words, and of the others that they wait for them.

    None where too little is spoken to be sure that there will be enough words. The span is that
    of the sound; where the words turn out to begin or end elsewhere, `measure` says it anew.
    """
    begin, end = _span_of_sound(track)
    pauses = _pauses_within(track.silences, begin, end)
    if end - begin - _length_of(pauses) < MIN_SECONDS:
        return None
    doubt = _doubt(track.sound)
    return {
        **metric.missing(_OF_WORDS, metric.WAITING),
        **_silence(pauses, end - begin, doubt),
        **_voice(track.sound, doubt),
        "response_latency": metric.LATENCY.of(begin, 1),
        "answer_length": metric.LENGTH.of(end - begin, 1),
    }


def measure(answer: Answer | Transcript) -> dict[str, Any]:
    """Return metric name to {value, unit, band, verdict, source, n}.

    `{"status": "not_measurable", "reason": …}` for answers without times, under 20 s or under
    40 words, where the figures would say more than is known. A single figure without a value
    has the verdict `not_measurable` and its `reason`.
    """
    words = answer.words
    if not words or answer.silences is None:
        return metric.not_measurable("the words have no times")
    begin, end = span_of(words, answer.silences)
    if end - begin < MIN_SECONDS or len(words) < MIN_WORDS:
        return metric.not_measurable(
            f"{max(end - begin, 0.0):.0f} s and {len(words)} words are too few to measure"
            f" (at least {MIN_SECONDS:.0f} s and {MIN_WORDS} words)"
        )
    pauses = _pauses_within(answer.silences, begin, end)
    doubt = _doubt(answer.sound)
    return {
        **_pace(words, begin, end),
        **_silence(pauses, end - begin, doubt),
        **_runs(words, pauses, end - begin, doubt),
        **_fillers(words, answer.sound, end - begin, doubt),
        **_voice(answer.sound, doubt),
        "response_latency": metric.LATENCY.of(begin, 1),
        "answer_length": metric.LENGTH.of(end - begin, len(words)),
    }


def _span_of_sound(track: SoundTrack) -> tuple[float, float]:
    begin, end = 0.0, track.duration_seconds
    for silence in track.silences:
        if silence.start <= _EDGE_SECONDS:
            begin = silence.end
        if silence.end >= track.duration_seconds - _EDGE_SECONDS:
            end = silence.start
    return begin, end


def _pauses_within(silences: Sequence[Silence], begin: float, end: float) -> list[Silence]:
    return [
        silence
        for silence in silences
        if begin <= silence.start
        and silence.end <= end
        and silence.end - silence.start >= _PAUSE_SECONDS
    ]


def _length_of(pauses: Sequence[Silence]) -> float:
    return sum(pause.end - pause.start for pause in pauses)


def _pace(words: Sequence[Word], begin: float, end: float) -> dict[str, Metric]:
    spoken = _without_fillers(words)
    windows = int((end - begin) / _WINDOW_SECONDS)
    counts = [0] * windows
    for word in spoken:
        window = int(((word.start + word.end) / 2 - begin) / _WINDOW_SECONDS)
        if 0 <= window < windows:
            counts[window] += 1
    steadiness = metric.PACE_STEADINESS.missing("shorter than two windows of 15 s")
    if windows >= 2 and any(counts):
        spread = statistics.pstdev(counts) / statistics.fmean(counts)
        steadiness = metric.PACE_STEADINESS.of(spread, windows)
    return {
        "pace": metric.PACE.of(60 * len(spoken) / (end - begin), len(spoken)),
        "pace_steadiness": steadiness,
    }


def _silence(pauses: Sequence[Silence], span: float, doubt: str | None) -> dict[str, Metric]:
    if doubt is not None:
        return metric.missing(_OF_SILENCE, doubt)
    lengths = [pause.end - pause.start for pause in pauses]
    long = [length for length in lengths if length > _LONG_PAUSE_SECONDS]
    middle = metric.PAUSE_LENGTH.missing(_NO_PAUSE)
    if pauses:
        typical = math.exp(statistics.median(map(math.log, lengths)))
        middle = metric.PAUSE_LENGTH.of(typical, len(pauses))
    return {
        "silent_pauses": metric.SILENT_PAUSES.of(60 * len(pauses) / span, len(pauses)),
        "pause_length": middle,
        "long_pauses": metric.LONG_PAUSES.of(len(long), len(pauses)),
        "phonation_ratio": metric.PHONATION.of(1 - sum(lengths) / span, len(pauses)),
    }


def _runs(
    words: Sequence[Word], pauses: Sequence[Silence], span: float, doubt: str | None
) -> dict[str, Metric]:
    if doubt is not None:
        names = ("articulation_rate", "pauses_inside_clauses", "mean_length_of_run")
        return metric.missing([one for one in _OF_WORDS if one[0] in names], doubt)
    syllables = sum(count_syllables(word.text) for word in words)
    spoken = max(span - _length_of(pauses), 1.0)
    return {
        "articulation_rate": metric.ARTICULATION.of(syllables / spoken, syllables),
        "pauses_inside_clauses": _inside_clauses(words, pauses),
        "mean_length_of_run": metric.RUN.of(syllables / (len(pauses) + 1), len(pauses) + 1),
    }


def _inside_clauses(words: Sequence[Word], pauses: Sequence[Silence]) -> Metric:
    if not pauses:
        return metric.INSIDE_CLAUSES.missing(_NO_PAUSE)
    if not any(word.text.endswith(_CLAUSE_ENDS) for word in words):
        return metric.INSIDE_CLAUSES.missing("the transcript has no punctuation")
    inside = sum(_is_inside_clause(words, pause) for pause in pauses)
    return metric.INSIDE_CLAUSES.of(inside / len(pauses), len(pauses))


def _is_inside_clause(words: Sequence[Word], pause: Silence) -> bool:
    # By middles: a recogniser often stretches a word over the pause beside it.
    before = [word for word in words if word.start + word.end <= pause.start + pause.end]
    if not before or len(before) == len(words):
        return False
    after = token_of(words[len(before)].text)
    return not before[-1].text.endswith(_CLAUSE_ENDS) and after not in _CLAUSE_BEGINS


def _fillers(
    words: Sequence[Word], sound: Sound | None, span: float, doubt: str | None
) -> dict[str, Metric]:
    tokens = [token_of(word.text) for word in words]
    fillers = len(find_fillers(tokens))
    written = [word for word, token in zip(words, tokens, strict=True) if token in FILLED_PAUSES]
    hums = hums_between(sound.hums, words) if sound is not None and doubt is None else []
    moments = [[word.start, word.end] for word in written] + [[hum.start, hum.end] for hum in hums]
    return {
        "discourse_fillers": metric.DISCOURSE_FILLERS.of(100 * fillers / len(words), fillers),
        "filled_pauses": metric.FILLED_PAUSES.of(
            60 * len(moments) / span,
            len(moments),
            in_words=len(written),
            in_sound=len(hums),
            confidence="low",
            moments=sorted(moments),
        ),
    }


def _voice(sound: Sound | None, doubt: str | None) -> dict[str, Metric]:
    if sound is None or sound.speech_dbfs is None or sound.noise_dbfs is None:
        scales = (
            ("pitch_variation", metric.PITCH_VARIATION),
            ("loudness", metric.LOUDNESS),
            ("over_noise", metric.NOISE),
            ("clipping", metric.CLIPPING),
        )
        return metric.missing(scales, "the sound was not measured")
    pitch = metric.PITCH_VARIATION.missing(doubt or "too little voice to find a pitch")
    if sound.pitch and doubt is None:
        windows = [window.sd_hz / window.mean_hz for window in sound.pitch]
        pitch = metric.PITCH_VARIATION.of(statistics.fmean(windows), len(windows))
    return {
        "pitch_variation": pitch,
        "loudness": metric.LOUDNESS.of(sound.speech_dbfs, 1),
        "over_noise": metric.NOISE.of(sound.speech_dbfs - sound.noise_dbfs, 1),
        "clipping": metric.CLIPPING.of(100 * sound.clipped, 1),
    }


def _doubt(sound: Sound | None) -> str | None:
    """Return why nothing can be told from the sound, if so: the quality gate."""
    if sound is None or sound.speech_dbfs is None or sound.noise_dbfs is None:
        return None
    if sound.clipped > _MOST_CLIPPED:
        return "the recording is distorted: too loud for its microphone"
    if sound.speech_dbfs - sound.noise_dbfs < _LEAST_OVER_NOISE_DB:
        return "the recording is too noisy"
    return None


def _without_fillers(words: Sequence[Word]) -> list[Word]:
    tokens = [token_of(word.text) for word in words]
    dropped = {index for index, token in enumerate(tokens) if token in FILLED_PAUSES}
    for start, size in find_fillers(tokens):
        dropped.update(range(start, start + size))
    return [word for index, word in enumerate(words) if index not in dropped]
