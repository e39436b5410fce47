"""Sentences about the parts of a recording that were not scored. Plain Python."""

from collections.abc import Sequence

from coach_ai.domain import AudioCoverage, AudioGap, GapReason

_LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German",
    "el": "Greek", "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
_MIN_DAMAGE_SECONDS = 0.5
"""Less costs no word."""
_MAX_LISTED = 3


def describe_gaps(coverage: AudioCoverage | None) -> str:
    """Return sentences about what was not scored, or an empty string."""
    if coverage is None:
        return ""
    return " ".join(
        sentence
        for sentence in (
            _describe_languages(coverage.list_gaps(GapReason.OTHER_LANGUAGE)),
            _describe_damage(coverage.list_gaps(GapReason.DAMAGED)),
            _describe_missing_end(coverage),
            _describe_excess(coverage),
        )
        if sentence
    )


def _describe_languages(gaps: Sequence[AudioGap]) -> str:
    parts = [
        f"{_format_span(gap)} in {_LANGUAGES.get(gap.language or '', 'another language')}"
        for gap in gaps
    ]
    return f"Only the English part was scored. Not scored: {_list(parts)}." if parts else ""


def _describe_damage(gaps: Sequence[AudioGap]) -> str:
    seconds = sum(gap.end - gap.start for gap in gaps)
    if seconds < _MIN_DAMAGE_SECONDS:
        return ""
    spans = _list([_format_span(gap) for gap in gaps if gap.end - gap.start >= _MIN_DAMAGE_SECONDS])
    where = f" ({spans})" if spans else ""
    return f"The recording is damaged: {seconds:.1f} seconds{where} could not be transcribed."


def _describe_missing_end(coverage: AudioCoverage) -> str:
    gaps = coverage.list_gaps(GapReason.MISSING)
    if not gaps or gaps[-1].end < coverage.duration_seconds:
        return ""
    return f"The recording is incomplete: its end from {_format_time(gaps[-1].start)} is missing."


def _describe_excess(coverage: AudioCoverage) -> str:
    if not coverage.list_gaps(GapReason.TOO_LONG):
        return ""
    minutes = coverage.list_gaps(GapReason.TOO_LONG)[0].start / 60
    return f"The recording is longer than {minutes:.0f} minutes. Only the first ones were scored."


def _list(parts: Sequence[str]) -> str:
    rest = len(parts) - _MAX_LISTED
    listed = list(parts[:_MAX_LISTED])
    if rest > 0:
        listed.append(f"{rest} more")
    return (
        listed[0]
        if len(listed) == 1
        else ", ".join(listed[:-1]) + f" and {listed[-1]}"
        if listed
        else ""
    )


def _format_span(gap: AudioGap) -> str:
    return f"{_format_time(gap.start)} to {_format_time(gap.end)}"


def _format_time(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
