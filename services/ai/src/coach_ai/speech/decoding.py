"""Decoding of recordings: from a container to mono float32 at 16 kHz, on the container's time axis.

PyAV decodes packet by packet. A packet that cannot be decoded is skipped, and silence takes its
place. Headers are not trusted, and no other file or address is opened.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av

from coach_ai.domain import AudioCoverage, AudioGap, CannotTranscribe, GapReason
from coach_ai.speech.channels import ChannelMixer
from coach_ai.speech.ogg import split_links
from coach_ai.speech.samples import SAMPLE_RATE, Samples
from coach_ai.speech.voice_activity import has_speech
from coach_common.recordings import MAX_RECORDING_SECONDS

UNREADABLE = "We could not read this recording."
NO_AUDIO_TRACK = "This recording has no audio track."
EMPTY = "This recording is empty."

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,mp3,wav,flac,aac,amr,caf"
_DECODERS = (
    "aac,aac_fixed,mp2,mp2float,mp3,mp3float,opus,libopus,vorbis,flac,alac,speex,ac3,ac3_fixed,"
    "eac3,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,gsm,gsm_ms,ilbc,adpcm_ms,adpcm_ima_wav,"
    "adpcm_ima_qt,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw"
)
"""Audio only: the pictures of a film are never decoded."""
_WITH_TRUSTED_DURATION = ("mov", "matroska")
_WITHOUT_TIMESTAMPS = ("mp3", "aac")
"""Their demuxers count packets: bytes in no packet do not show in the timestamps."""

_MAX_CHANNELS = 8
_SAMPLE_RATES = range(4_000, 192_001)
_MAX_TRACKS = 4
_MAX_READ_ERRORS = 1_000
_MAX_SAMPLES = MAX_RECORDING_SECONDS * SAMPLE_RATE

_TIMESTAMP_TOLERANCE_SECONDS = 0.1
"""Containers round timestamps and encoders pad: smaller differences are no gap."""
_DAMAGE_TOLERANCE_SECONDS = 0.02
"""After damage, one lost packet is a gap."""
_MIN_REPORTED_SECONDS = {GapReason.DAMAGED: 0.05, GapReason.MISSING: 0.5, GapReason.TOO_LONG: 0.0}
"""What is shorter takes nothing of a word, or is a pause."""
_MIN_MISSING_AT_END_SECONDS = 1.0
_MAX_CLAIMED_SECONDS = 24 * 3600
_MAX_PADDING_SECONDS = 0.5
"""Encoders pad by less than this. It does not make a recording longer than 30 minutes."""
_GAP_JOIN_SECONDS = 0.1
"""Comfort noise packets (20 ms) within a pause do not split its gap."""
_MAX_GAPS = 100
_DAMAGE_REACH_SECONDS = 1.0
_MIN_SKIPPED_BYTES = 512
"""Container headers between two packets take less."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """Mono float32 at 16 kHz, finite and within ±1. Gaps within `samples` are silence there.

    Some gaps lie after the end of `samples`. `track` is the index among the audio tracks.
    `channel` is `mono`, `mean` or the index of the channel that most of the audio is from.
    """

    samples: Samples
    coverage: AudioCoverage
    track: int
    channel: str


def decode_recording(recording: Path) -> DecodedAudio:
    """Decode the track with speech. The track with the `default` flag is tried first.

    Of a recording longer than 30 minutes, the first 30 are decoded.

    Raises:
        CannotTranscribe: If the file has no audio track, or none that can be decoded.
    """
    try:
        with recording.open("rb") as file:
            return _decode_best_track(split_links(file))
    except CannotTranscribe:
        raise
    except Exception as error:
        # PyAV raises errors of many kinds for broken files, AttributeError included.
        raise CannotTranscribe(UNREADABLE) from error


def _decode_best_track(sources: list[BinaryIO]) -> DecodedAudio:
    with _open(sources[0]) as container:
        if not container.streams.audio:
            raise CannotTranscribe(NO_AUDIO_TRACK)
        tracks = _list_tracks(container)
    first: DecodedAudio | None = None
    is_damaged = not tracks
    for track in tracks[:_MAX_TRACKS]:
        timeline = _Timeline()
        for source in sources:
            _decode_track(source, track, timeline)
        is_damaged = is_damaged or timeline.is_damaged
        if not timeline.decoded_samples:
            continue
        decoded = timeline.finish(track)
        if len(tracks) == 1 or has_speech(decoded.samples):
            return decoded
        first = first or decoded
    if first is None:
        raise CannotTranscribe(UNREADABLE if is_damaged else EMPTY)
    return first


def _open(source: BinaryIO) -> Any:
    source.seek(0)
    # A file object, not a path: a playlist inside it finds nothing else to open.
    return av.open(
        source,
        mode="r",
        metadata_errors="ignore",
        options={
            "format_whitelist": _FORMATS,
            "protocol_whitelist": "none",
            "codec_whitelist": _DECODERS,
        },
    )


def _list_tracks(container: Any) -> list[int]:
    """Return the indexes of the audio tracks that have a decoder, the default one first."""
    tracks = [
        (not stream.disposition & av.stream.Disposition.default, index)
        for index, stream in enumerate(container.streams.audio)
        if _is_decodable(stream.codec_context)
    ]
    return [index for _, index in sorted(tracks)]


def _is_decodable(codec: Any) -> bool:
    return (
        codec is not None
        and codec.name in _DECODERS.split(",")
        and codec.channels <= _MAX_CHANNELS
        and codec.sample_rate in _SAMPLE_RATES
    )


def _decode_track(source: BinaryIO, track: int, timeline: "_Timeline") -> None:
    with _open(source) as container:
        tracks = _list_tracks(container)
        if not tracks:
            timeline.is_damaged = True
            return
        stream = container.streams.audio[track if track in tracks else tracks[0]]
        timeline.begin(
            None if container.start_time is None else container.start_time / av.time_base
        )
        format_name = container.format.name.split(",")[0]
        estimate = _LossEstimate(is_alone=len(container.streams) == 1)
        for packet in _read_packets(container, stream, timeline.mark_damaged):
            if timeline.is_full:
                timeline.extend(_get_end(packet))
                continue
            if estimate.has_skipped_bytes(packet):
                timeline.mark_damaged()
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError):
                timeline.mark_damaged()
                if format_name in _WITHOUT_TIMESTAMPS:
                    timeline.shift(estimate.estimate_lost_seconds(packet))
                continue
            estimate.add(packet)
            at = _get_seconds(packet)
            for frame in frames:
                timeline.append(frame, at if frame.time is None else frame.time)
                at = None
        timeline.flush()
        if format_name in _WITH_TRUSTED_DURATION:
            timeline.extend_to_claimed(_get_claimed_end(container, stream))


def _read_packets(container: Any, stream: Any, on_error: Callable[[], None]) -> Iterator[Any]:
    """Yield the packets of a stream; read on after an error."""
    for _ in range(_MAX_READ_ERRORS):
        try:
            yield from container.demux(stream)
        except av.FFmpegError:
            on_error()
        else:
            return


def _get_seconds(packet: Any) -> float | None:
    return None if packet.pts is None else float(packet.pts * packet.time_base)


def _get_end(packet: Any) -> float | None:
    begin = _get_seconds(packet)
    if begin is None:
        return None
    return begin + float((packet.duration or 0) * packet.time_base)


def _get_claimed_end(container: Any, stream: Any) -> float | None:
    if stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if container.duration is not None:
        return float(((container.start_time or 0) + container.duration) / av.time_base)
    return None


class _LossEstimate:
    """Finds bytes between packets that belong to none, and how long a broken packet would play."""

    def __init__(self, *, is_alone: bool) -> None:
        self._is_alone = is_alone
        self._position: int | None = None
        self._bytes_since_position = 0
        self._bytes = 0
        self._seconds = 0.0

    def has_skipped_bytes(self, packet: Any) -> bool:
        """Return True if the demuxer left out more bytes before this packet than headers take.

        Only known if no other stream lies in between. Packets of one Ogg page share a position.
        """
        if not self._is_alone or packet.pos is None or packet.pos < 0:
            return False
        skipped = 0
        if packet.pos != self._position:
            if self._position is not None:
                skipped = packet.pos - self._position - self._bytes_since_position
            self._position, self._bytes_since_position = packet.pos, 0
        self._bytes_since_position += packet.size
        return skipped > _MIN_SKIPPED_BYTES

    def add(self, packet: Any) -> None:
        """Count a packet that was decoded."""
        if packet.duration:
            self._bytes += packet.size
            self._seconds += float(packet.duration * packet.time_base)

    def estimate_lost_seconds(self, packet: Any) -> float:
        """Return how much longer a broken packet would play, by its size, than it claims."""
        if not self._bytes or not packet.duration:
            return 0.0
        claimed = float(packet.duration * packet.time_base)
        by_size = float(packet.size) * self._seconds / self._bytes
        return max(0.0, by_size - claimed)


class _Timeline:
    """Audio in the order of its playback. Positions count samples at 16 kHz from the start."""

    def __init__(self) -> None:
        self.decoded_samples = 0
        self.is_damaged = False
        self._mixer = ChannelMixer()
        self._position = 0
        self._end_seconds = 0.0
        self._offset: float | None = None
        self._resampler: Any = None
        self._parameters: tuple[int, str, str] | None = None
        self._damaged_at: int | None = None
        self._gaps: list[AudioGap] = []

    @property
    def is_full(self) -> bool:
        """True after 30 minutes."""
        return self._position >= _MAX_SAMPLES

    @property
    def _seconds(self) -> float:
        return self._position / SAMPLE_RATE

    def begin(self, start_seconds: float | None) -> None:
        """Begin a container whose own time starts at `start_seconds`, after what is there."""
        self._end_seconds = max(self._end_seconds, self._seconds)
        self._offset = None if start_seconds is None else self._end_seconds - start_seconds

    def mark_damaged(self) -> None:
        """Count the next gap as damage."""
        self.is_damaged = True
        self._damaged_at = self._position

    def shift(self, seconds: float) -> None:
        """Shift later audio behind its timestamps."""
        if self._offset is not None:
            self._offset += seconds

    def append(self, frame: Any, at: float | None) -> None:
        """Add a decoded frame that its container plays at `at` seconds, None directly after."""
        if frame.is_corrupt or not _is_sound(frame):
            self.mark_damaged()
            return
        if at is not None:
            self._move_to(at)
        parameters = (frame.sample_rate, frame.layout.name, frame.format.name)
        if parameters != self._parameters:
            self.flush()
            self._parameters = parameters
            layout = "mono" if frame.layout.nb_channels == 1 else frame.layout
            self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=SAMPLE_RATE)
        frame.pts = None
        for resampled in self._resampler.resample(frame):
            self._add(resampled.to_ndarray())

    def flush(self) -> None:
        """Add what the resampler still holds."""
        if self._resampler is not None:
            for resampled in self._resampler.resample(None):
                self._add(resampled.to_ndarray())
        self._resampler = self._parameters = None

    def extend(self, end: float | None) -> None:
        """Note that the container goes on to `end`, after what is decoded."""
        if end is not None and self._offset is not None:
            self._end_seconds = max(self._end_seconds, end + self._offset)

    def extend_to_claimed(self, end: float | None) -> None:
        """Note that a part is missing if the recording ends long before its header says."""
        if end is None or self._offset is None or self.is_full:
            return
        claimed = end + self._offset
        missing = claimed - self._seconds
        if missing > _MIN_MISSING_AT_END_SECONDS and claimed <= _MAX_CLAIMED_SECONDS:
            self._gaps.append(AudioGap(self._seconds, claimed, GapReason.MISSING))
            self._end_seconds = claimed

    def finish(self, track: int) -> DecodedAudio:
        """Return the decoded recording."""
        samples, channel = self._mixer.finish()
        end = max(self._end_seconds, self._seconds)
        if self.is_full and end <= MAX_RECORDING_SECONDS + _MAX_PADDING_SECONDS:
            end = float(MAX_RECORDING_SECONDS)
        gaps = self._gaps
        if self.is_full and end > MAX_RECORDING_SECONDS:
            gaps = [*gaps, AudioGap(float(MAX_RECORDING_SECONDS), end, GapReason.TOO_LONG)]
        return DecodedAudio(
            samples=samples,
            coverage=AudioCoverage(
                duration_seconds=round(end, 3),
                heard_seconds=round(self.decoded_samples / SAMPLE_RATE, 3),
                gaps=_list_reported(gaps),
            ),
            track=track,
            channel=channel,
        )

    def _move_to(self, at: float) -> None:
        """Fill the time until `at` with silence. Timestamps that go back start a new time axis."""
        if self._offset is None:
            self._offset = self._seconds - at
        reach = _DAMAGE_REACH_SECONDS * SAMPLE_RATE
        is_damage = self._damaged_at is not None and self._position - self._damaged_at <= reach
        tolerance = _DAMAGE_TOLERANCE_SECONDS if is_damage else _TIMESTAMP_TOLERANCE_SECONDS
        difference = at + self._offset - self._seconds
        if difference < -_TIMESTAMP_TOLERANCE_SECONDS or difference > MAX_RECORDING_SECONDS:
            self._offset -= difference
        elif difference > tolerance:
            self.flush()
            start = self._position
            self._position = min(start + round(difference * SAMPLE_RATE), _MAX_SAMPLES)
            self._mixer.append_silence(self._position - start)
            reason = GapReason.DAMAGED if is_damage else GapReason.MISSING
            self._gaps.append(AudioGap(start / SAMPLE_RATE, self._seconds, reason))
            self._damaged_at = None

    def _add(self, block: Samples) -> None:
        block = block[:, : _MAX_SAMPLES - self._position]
        self._mixer.append(block)
        self._position += block.shape[1]
        self.decoded_samples += block.shape[1]


def _is_sound(frame: Any) -> bool:
    return (
        frame.sample_rate in _SAMPLE_RATES
        and 1 <= frame.layout.nb_channels <= _MAX_CHANNELS
        and frame.samples > 0
    )


def _list_reported(gaps: list[AudioGap]) -> tuple[AudioGap, ...]:
    """Return the gaps that are long enough to report, at most 100: close ones as one."""
    distance = _GAP_JOIN_SECONDS
    joined = _join(gaps, distance)
    reported = [gap for gap in joined if gap.end - gap.start >= _MIN_REPORTED_SECONDS[gap.reason]]
    while len(reported) > _MAX_GAPS:
        distance *= 2
        reported = _join(reported, distance)
    return tuple(AudioGap(round(gap.start, 2), round(gap.end, 2), gap.reason) for gap in reported)


def _join(gaps: list[AudioGap], distance: float) -> list[AudioGap]:
    joined: list[AudioGap] = []
    for gap in gaps:
        if joined and gap.start - joined[-1].end <= distance and gap.reason == joined[-1].reason:
            joined[-1] = AudioGap(joined[-1].start, gap.end, gap.reason)
        else:
            joined.append(gap)
    return joined
