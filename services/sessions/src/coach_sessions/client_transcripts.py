"""Which texts that a client sends are transcripts: those with words of an answer."""

import re

_ANNOTATION = re.compile(r"[\[(<*]([^\[\]()<>*]{0,60})[\])>*]")
_ANNOTATION_WORDS = {
    "applause", "audio", "background", "beep", "beeping", "blank", "blank_audio", "blowing",
    "breathing", "chatter", "clicking", "cough", "coughing", "coughs", "end", "foreign",
    "inaudible", "indistinct", "keyboard", "language", "laughing", "laughs", "laughter",
    "music", "no", "no_speech", "noise", "object", "of", "pause", "playing", "sigh", "sighing",
    "sighs", "silence", "sound", "sounds", "speaking", "speech", "static", "typing",
    "unintelligible", "unk", "wind",
}  # fmt: skip
"""What recognisers write in brackets for sounds without words, such as `[BLANK_AUDIO]`."""
_PLACEHOLDERS = {
    "null", "undefined", "none", "nil", "nan", "object object", "empty", "n a", "silence",
    "inaudible", "blank audio", "no audio", "no speech", "no speech detected",
    "no transcript", "no transcription", "transcript not available", "no match",
}  # fmt: skip


def parse_client_transcript(text: str | None) -> str | None:
    """Return a client's transcript, or None if it has no words of an answer.

    Blank text, punctuation, sound annotations and the placeholders of recognisers and of
    programming languages are no transcript.
    """
    if text is None:
        return None
    words = re.findall(r"\w+", _ANNOTATION.sub(_keep_unknown_annotation, text).lower())
    if not words or " ".join(words) in _PLACEHOLDERS or not any(map(str.isalnum, "".join(words))):
        return None
    return text


def _keep_unknown_annotation(annotation: re.Match[str]) -> str:
    words = re.findall(r"\w+", annotation[1].lower())
    return " " if _ANNOTATION_WORDS.issuperset(words) else annotation[0]
