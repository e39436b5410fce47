"""Recordings as media accepts and ai transcribes them: formats and length. Plain Python."""

from enum import StrEnum

MAX_RECORDING_SECONDS = 30 * 60
"""Of a longer recording, this much is transcribed."""
MAGIC_BYTES_LENGTH = 4096
"""Bytes of a file that are read to detect its format."""
_ISO_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx", b"wide", b"free", b"skip")


class Format(StrEnum):
    """A recording format that transcription can read. The value is its media type for audio."""

    ISO_MEDIA = "audio/mp4"
    MPEG_AUDIO = "audio/mpeg"
    ADTS = "audio/aac"
    WAVE = "audio/wav"
    WEBM = "audio/webm"
    OGG = "audio/ogg"
    FLAC = "audio/flac"
    AMR = "audio/amr"
    CAF = "audio/x-caf"


def detect_format(first_bytes: bytes) -> Format | None:
    """Return the recording format of a file that begins with these bytes, or None.

    Zero bytes before MPEG audio are skipped: some recorders write them.
    Formats: ISO 14496-12, ISO 11172-3, ISO 13818-7, RIFF, EBML, Ogg, FLAC, RFC 4867, CAF.
    """
    for start, found in (
        (b"\x1a\x45\xdf\xa3", Format.WEBM),
        (b"OggS", Format.OGG),
        (b"fLaC", Format.FLAC),
        (b"#!AMR", Format.AMR),
        (b"caff", Format.CAF),
        (b"ID3", Format.MPEG_AUDIO),
        (b"ADIF", Format.ADTS),
    ):
        if first_bytes.startswith(start):
            return found
    if first_bytes[4:8] in _ISO_BOXES:
        return Format.ISO_MEDIA
    if first_bytes[:4] in (b"RIFF", b"RF64") and first_bytes[8:12] == b"WAVE":
        return Format.WAVE
    frame = first_bytes.lstrip(b"\0")[:4]
    if _is_adts_frame(frame):
        return Format.ADTS
    return Format.MPEG_AUDIO if _is_mpeg_audio_frame(frame) else None


def _is_adts_frame(header: bytes) -> bool:
    return (
        len(header) >= 3
        and header[0] == 0xFF
        and header[1] & 0xF6 == 0xF0
        and (header[2] >> 2) & 0x0F < 13
    )


def _is_mpeg_audio_frame(header: bytes) -> bool:
    """Return whether this is a frame header with a defined version, layer, bit and sample rate."""
    return (
        len(header) >= 3
        and header[0] == 0xFF
        and header[1] & 0xE0 == 0xE0
        and header[1] & 0x18 != 0x08
        and header[1] & 0x06 != 0x00
        and header[2] & 0xF0 != 0xF0
        and header[2] & 0x0C != 0x0C
    )
