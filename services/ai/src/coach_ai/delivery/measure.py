"""The delivery metrics of an answer.

A metric inside its band is not commented on. Pauses are the silences of the audio, never the gaps
between the recogniser's words, which hide pauses.
"""

import math
import statistics
from collections.abc import Collection, Sequence
from typing import Any

from coach_ai.delivery import metric_spec
from coach_ai.delivery.accommodations import drop_metrics
from coach_ai.delivery.fillers import FILLED_PAUSES, find_fillers, held_vowels_between
from coach_ai.delivery.metric_spec import Metric
from coach_ai.delivery.time_axis import TimeAxis
from coach_ai.delivery.words import count_syllables, normalise_word, speech_span
from coach_ai.domain import (
    Accommodation,
    AcousticFeatures,
    Answer,
    AudioAnalysis,
    Silence,
    Transcript,
    Word,
)

MIN_SECONDS = 20.0
MIN_WORDS = 40

_MIN_PAUSE_SECONDS = 0.25
_LONG_PAUSE_SECONDS = 2.0
_WINDOW_SECONDS = 15.0
_MIN_OVER_NOISE_DB = 6.0
_MAX_CLIPPED_SHARE = 0.01
_EDGE_SECONDS = 0.02
_NO_PAUSE_REASON = "no pause of 250 ms or longer"
_CLAUSE_ENDS = (",", ".", ";", ":", "?", "!", "—", "…")
_CLAUSE_BEGINS = frozenset(
    ("and", "but", "or", "so", "because", "which", "who", "when", "while", "if", "although",
     "though", "since", "until", "where", "whereas", "then")
)  # fmt: skip


_WORD_METRICS = (
    ("pace", metric_spec.PACE),
    ("pace_steadiness", metric_spec.PACE_STEADINESS),
    ("articulation_rate", metric_spec.ARTICULATION_RATE),
    ("pauses_inside_clauses", metric_spec.PAUSES_INSIDE_CLAUSES),
    ("mean_length_of_run", metric_spec.MEAN_LENGTH_OF_RUN),
    ("discourse_fillers", metric_spec.DISCOURSE_FILLERS),
    ("filled_pauses", metric_spec.FILLED_PAUSES),
)
_SILENCE_METRICS = (
    ("silent_pauses", metric_spec.SILENT_PAUSES),
    ("pause_length", metric_spec.PAUSE_LENGTH),
    ("long_pauses", metric_spec.LONG_PAUSES),
    ("phonation_ratio", metric_spec.PHONATION_RATIO),
)


def measure_audio(
    audio: AudioAnalysis, accommodations: Collection[Accommodation] = ()
) -> dict[str, Any] | None:
    """Return the metrics that need no transcript. The others wait for it, with that reason.

    None if there are less than 20 s of speech. The speech span is that of the audio; `measure`
    corrects it by the words. Metrics that `accommodations` switch off are left out.
    """
    axis = TimeAxis.for_answer(audio)
    silences = axis.compress_silences(audio.silences)
    begin, end = _audio_span(silences, axis.compress(audio.duration_seconds))
    pauses = _pauses_within(silences, begin, end)
    if end - begin - _total_seconds(pauses) < MIN_SECONDS:
        return None
    unusable_reason = _quality_gate(audio.acoustic_features)
    metrics = {
        **metric_spec.all_not_measurable(_WORD_METRICS, metric_spec.WAITING_FOR_TRANSCRIPT),
        **_silence_metrics(pauses, end - begin, unusable_reason),
        **_voice_metrics(audio.acoustic_features, unusable_reason),
        "response_latency": metric_spec.RESPONSE_LATENCY.value(begin, 1),
        "answer_length": metric_spec.ANSWER_LENGTH.value(end - begin, 1),
    }
    return drop_metrics(metrics, accommodations)


def measure(
    answer: Answer | Transcript, accommodations: Collection[Accommodation] = ()
) -> dict[str, Any]:
    """Return {name: {value, unit, band, verdict, source, n}}.

    Metrics that `accommodations` switch off are left out.

    Returns `{"status": "not_measurable", "reason": …}` for answers without word times, answers
    whose audio was not analysed, and answers under 20 s or under 40 words. A single metric without
    a value has the verdict `not_measurable` and a `reason`."""
    if not answer.words:
        return metric_spec.not_measurable("the transcript has no word times")
    if answer.silences is None:
        return metric_spec.not_measurable("the audio was not analysed")
    axis = TimeAxis.for_answer(answer)
    words = axis.compress_words(answer.words)
    silences = axis.compress_silences(answer.silences)
    features = axis.compress_features(answer.acoustic_features)
    begin, end = speech_span(words, silences)
    if end - begin < MIN_SECONDS or len(words) < MIN_WORDS:
        return metric_spec.not_measurable(
            f"{max(end - begin, 0.0):.0f} s and {len(words)} words are too few to measure"
            f" (at least {MIN_SECONDS:.0f} s and {MIN_WORDS} words)"
        )
    pauses = _pauses_within(silences, begin, end)
    unusable_reason = _quality_gate(features)
    metrics = {
        **_pace_metrics(words, begin, end),
        **_silence_metrics(pauses, end - begin, unusable_reason),
        **_run_metrics(words, pauses, end - begin, unusable_reason),
        **_filler_metrics(words, features, axis, end - begin, unusable_reason),
        **_voice_metrics(features, unusable_reason),
        "response_latency": metric_spec.RESPONSE_LATENCY.value(begin, 1),
        "answer_length": metric_spec.ANSWER_LENGTH.value(end - begin, len(words)),
    }
    return drop_metrics(metrics, accommodations)


def _audio_span(silences: Sequence[Silence], duration_seconds: float) -> tuple[float, float]:
    begin, end = 0.0, duration_seconds
    for silence in silences:
        if silence.start <= _EDGE_SECONDS:
            begin = silence.end
        if silence.end >= duration_seconds - _EDGE_SECONDS:
            end = silence.start
    return begin, end


def _pauses_within(silences: Sequence[Silence], begin: float, end: float) -> list[Silence]:
    return [
        silence
        for silence in silences
        if begin <= silence.start
        and silence.end <= end
        and silence.end - silence.start >= _MIN_PAUSE_SECONDS
    ]


def _total_seconds(pauses: Sequence[Silence]) -> float:
    return sum(pause.end - pause.start for pause in pauses)


def _pace_metrics(words: Sequence[Word], begin: float, end: float) -> dict[str, Metric]:
    spoken = _drop_fillers(words)
    windows = int((end - begin) / _WINDOW_SECONDS)
    counts = [0] * windows
    for word in spoken:
        window = int(((word.start + word.end) / 2 - begin) / _WINDOW_SECONDS)
        if 0 <= window < windows:
            counts[window] += 1
    steadiness = metric_spec.PACE_STEADINESS.not_measurable("shorter than two windows of 15 s")
    if windows >= 2 and any(counts):
        spread = statistics.pstdev(counts) / statistics.fmean(counts)
        steadiness = metric_spec.PACE_STEADINESS.value(spread, windows)
    return {
        "pace": metric_spec.PACE.value(60 * len(spoken) / (end - begin), len(spoken)),
        "pace_steadiness": steadiness,
    }


def _silence_metrics(
    pauses: Sequence[Silence], span: float, unusable_reason: str | None
) -> dict[str, Metric]:
    if unusable_reason is not None:
        return metric_spec.all_not_measurable(_SILENCE_METRICS, unusable_reason)
    lengths = [pause.end - pause.start for pause in pauses]
    long = [length for length in lengths if length > _LONG_PAUSE_SECONDS]
    typical_length = metric_spec.PAUSE_LENGTH.not_measurable(_NO_PAUSE_REASON)
    if pauses:
        typical = math.exp(statistics.median(map(math.log, lengths)))
        typical_length = metric_spec.PAUSE_LENGTH.value(typical, len(pauses))
    return {
        "silent_pauses": metric_spec.SILENT_PAUSES.value(60 * len(pauses) / span, len(pauses)),
        "pause_length": typical_length,
        "long_pauses": metric_spec.LONG_PAUSES.value(len(long), len(pauses)),
        "phonation_ratio": metric_spec.PHONATION_RATIO.value(1 - sum(lengths) / span, len(pauses)),
    }


def _run_metrics(
    words: Sequence[Word], pauses: Sequence[Silence], span: float, unusable_reason: str | None
) -> dict[str, Metric]:
    if unusable_reason is not None:
        names = ("articulation_rate", "pauses_inside_clauses", "mean_length_of_run")
        return metric_spec.all_not_measurable(
            [one for one in _WORD_METRICS if one[0] in names], unusable_reason
        )
    syllables = sum(count_syllables(word.text) for word in words)
    spoken = max(span - _total_seconds(pauses), 1.0)
    return {
        "articulation_rate": metric_spec.ARTICULATION_RATE.value(syllables / spoken, syllables),
        "pauses_inside_clauses": _pauses_inside_clauses(words, pauses),
        "mean_length_of_run": metric_spec.MEAN_LENGTH_OF_RUN.value(
            syllables / (len(pauses) + 1), len(pauses) + 1
        ),
    }


def _pauses_inside_clauses(words: Sequence[Word], pauses: Sequence[Silence]) -> Metric:
    if not pauses:
        return metric_spec.PAUSES_INSIDE_CLAUSES.not_measurable(_NO_PAUSE_REASON)
    if not any(word.text.endswith(_CLAUSE_ENDS) for word in words):
        return metric_spec.PAUSES_INSIDE_CLAUSES.not_measurable("the transcript has no punctuation")
    inside = sum(_is_inside_clause(words, pause) for pause in pauses)
    return metric_spec.PAUSES_INSIDE_CLAUSES.value(inside / len(pauses), len(pauses))


def _is_inside_clause(words: Sequence[Word], pause: Silence) -> bool:
    # Compared by midpoints: a recogniser often stretches a word over the adjacent pause.
    before = [word for word in words if word.start + word.end <= pause.start + pause.end]
    if not before or len(before) == len(words):
        return False
    after = normalise_word(words[len(before)].text)
    return not before[-1].text.endswith(_CLAUSE_ENDS) and after not in _CLAUSE_BEGINS


def _filler_metrics(
    words: Sequence[Word],
    features: AcousticFeatures | None,
    axis: TimeAxis,
    span: float,
    unusable_reason: str | None,
) -> dict[str, Metric]:
    tokens = [normalise_word(word.text) for word in words]
    fillers = len(find_fillers(tokens))
    written = [word for word, token in zip(words, tokens, strict=True) if token in FILLED_PAUSES]
    held_vowels = (
        held_vowels_between(features.held_vowels, words)
        if features is not None and unusable_reason is None
        else []
    )
    moments = _merge_overlapping(
        [[word.start, word.end] for word in written]
        + [[vowel.start, vowel.end] for vowel in held_vowels]
    )
    return {
        "discourse_fillers": metric_spec.DISCOURSE_FILLERS.value(
            100 * fillers / len(words), fillers
        ),
        "filled_pauses": metric_spec.FILLED_PAUSES.value(
            60 * len(moments) / span,
            len(moments),
            in_words=len(written),
            in_sound=len(moments) - len(written),
            confidence="low",
            moments=[[axis.restore(start), axis.restore(end)] for start, end in moments],
        ),
    }


def _merge_overlapping(moments: list[list[float]]) -> list[list[float]]:
    """Return the moments in order, overlapping ones as one."""
    merged: list[list[float]] = []
    for start, end in sorted(moments):
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def _voice_metrics(
    features: AcousticFeatures | None, unusable_reason: str | None
) -> dict[str, Metric]:
    if features is None or features.speech_dbfs is None or features.noise_dbfs is None:
        specs = (
            ("pitch_variation", metric_spec.PITCH_VARIATION),
            ("loudness", metric_spec.LOUDNESS),
            ("over_noise", metric_spec.SPEECH_OVER_NOISE),
            ("clipping", metric_spec.CLIPPING),
        )
        return metric_spec.all_not_measurable(specs, "the audio was not analysed")
    pitch = metric_spec.PITCH_VARIATION.not_measurable(
        unusable_reason or "too little voiced speech to measure pitch"
    )
    if features.pitch and unusable_reason is None:
        windows = [window.sd_hz / window.mean_hz for window in features.pitch]
        pitch = metric_spec.PITCH_VARIATION.value(statistics.fmean(windows), len(windows))
    return {
        "pitch_variation": pitch,
        "loudness": metric_spec.LOUDNESS.value(features.speech_dbfs, 1),
        "over_noise": metric_spec.SPEECH_OVER_NOISE.value(
            features.speech_dbfs - features.noise_dbfs, 1
        ),
        "clipping": metric_spec.CLIPPING.value(100 * features.clipped, 1),
    }


def _quality_gate(features: AcousticFeatures | None) -> str | None:
    """Return why the audio is too poor for acoustic metrics, or None if it is not."""
    if features is None or features.speech_dbfs is None or features.noise_dbfs is None:
        return None
    if features.clipped > _MAX_CLIPPED_SHARE:
        return "the recording is distorted (too loud for the microphone)"
    if features.speech_dbfs - features.noise_dbfs < _MIN_OVER_NOISE_DB:
        return "the recording is too noisy"
    return None


def _drop_fillers(words: Sequence[Word]) -> list[Word]:
    tokens = [normalise_word(word.text) for word in words]
    dropped = {index for index, token in enumerate(tokens) if token in FILLED_PAUSES}
    for start, size in find_fillers(tokens):
        dropped.update(range(start, start + size))
    return [word for index, word in enumerate(words) if index not in dropped]
