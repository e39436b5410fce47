"""Recordings as people make them, through the real speech process."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

import coach_embedded
from coach_ai.domain import Answer, CannotTranscribe, GapReason, Transcript
from coach_ai.scoring.coverage_note import describe_gaps
from coach_ai.scoring.local.scorer import LocalScorer
from coach_ai.scoring.set_aside import set_aside_non_answer
from coach_ai.speech.audio import SAMPLE_RATE, Samples, decode
from coach_ai.speech.local_transcriber import LocalTranscriber
from coach_ai.token_usage import TokenUsage
from coach_ai.vocabulary import build_prompt
from coach_embedded.demo import word_error_rate
from support.container_files import damage, encode, hide_codec
from support.sounds import RECORDINGS, WORDS, speech

pytestmark = [pytest.mark.speech, pytest.mark.asyncio(loop_scope="module")]

ANSWER = Path(coach_embedded.__file__).parent / "recordings" / "answer.m4a"
QUESTION = "He was not an ill-disposed young man?"
PAUSE = np.zeros(SAMPLE_RATE // 2, np.float32)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def transcriber() -> AsyncIterator[LocalTranscriber]:
    transcriber = LocalTranscriber(None)
    yield transcriber
    await transcriber.close()


def _write(folder: Path, *parts: Samples) -> Path:
    return encode(folder / "a.ogg", [np.concatenate(parts)], "ogg", "libopus", rate=48_000)


def _answer(transcript: Transcript, question: str) -> Answer:
    return Answer(
        title="T", question=question, text=transcript.text, language=transcript.language,
        duration_seconds=transcript.duration_seconds, words=transcript.words,
        silences=transcript.silences,
        acoustic_features=transcript.acoustic_features, coverage=transcript.coverage,
    )  # fmt: skip


@pytest.mark.parametrize("is_first", [True, False])
async def test_other_language_is_named_and_not_shown_as_english_words(
    transcriber: LocalTranscriber, tmp_path: Path, is_first: bool
) -> None:
    german, english = decode(RECORDINGS / "german.ogg"), speech()
    parts = (german, PAUSE, english) if is_first else (english, PAUSE, german)

    transcript = await transcriber.transcribe(_write(tmp_path, *parts))

    assert transcript.language == "en"
    assert word_error_rate(" ".join(WORDS.values()), transcript.text) <= 0.1
    assert transcript.coverage is not None
    (gap,) = transcript.coverage.gaps
    assert (gap.reason, gap.language) == (GapReason.OTHER_LANGUAGE, "de")
    begin = 0.0 if is_first else len(english) / SAMPLE_RATE + 0.5
    assert gap.start == pytest.approx(begin, abs=1.0)
    assert gap.end == pytest.approx(begin + len(german) / SAMPLE_RATE, abs=1.0)
    assert "in German" in describe_gaps(transcript.coverage)


async def test_mostly_another_language_is_not_taken_for_english(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    german, english = decode(RECORDINGS / "german.ogg"), speech("austen-0880.wav")

    transcript = await transcriber.transcribe(_write(tmp_path, german, PAUSE, english))

    assert transcript.language == "de"


async def test_question_read_aloud_changes_no_score(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    answer, question = decode(ANSWER), speech("austen-0880.wav")
    alone = await transcriber.transcribe(_write(tmp_path, answer))
    echoed = await transcriber.transcribe(_write(tmp_path, question, PAUSE, answer))

    expected = await LocalScorer().score(_answer(alone, QUESTION), TokenUsage())
    feedback = await LocalScorer().score(
        set_aside_non_answer(_answer(echoed, QUESTION)), TokenUsage()
    )

    assert "young man" in echoed.text
    assert expected.overall_score is not None
    assert feedback.overall_score == pytest.approx(expected.overall_score, abs=2)
    assert not any("young man" in remark.quote for remark in feedback.remarks)
    assert feedback.delivery["pace"]["value"] == pytest.approx(
        expected.delivery["pace"]["value"], rel=0.03
    )
    assert feedback.delivery["answer_length"]["value"] == pytest.approx(
        expected.delivery["answer_length"]["value"], abs=1.0
    )


async def test_question_and_terms_do_not_worsen_recognition(transcriber: LocalTranscriber) -> None:
    reference = " ".join(WORDS.values())
    prompt = build_prompt("Describe how you would make a slow database query faster.", "Engineer")

    plain = [await transcriber.transcribe(RECORDINGS / name) for name in WORDS]
    prompted = [await transcriber.transcribe(RECORDINGS / name, prompt=prompt) for name in WORDS]

    errors = word_error_rate(reference, " ".join(one.text for one in prompted))
    assert errors <= word_error_rate(reference, " ".join(one.text for one in plain))


async def test_terms_are_not_recognised_in_noise(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    noise = 0.05 * np.random.default_rng(3).standard_normal(20 * SAMPLE_RATE).astype(np.float32)
    sentence = speech("austen-0880.wav")
    file = _write(tmp_path, noise, sentence, noise)

    transcript = await transcriber.transcribe(file, prompt=build_prompt("What is Kubernetes?"))

    assert len(transcript.text.split()) <= len(WORDS["austen-0880.wav"].split()) + 2
    assert "Kubernetes" not in transcript.text


async def test_damaged_part_is_reported_and_the_rest_keeps_its_time(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    whole = await transcriber.transcribe(_write(tmp_path, speech()))
    file = damage(_write(tmp_path, speech()))

    transcript = await transcriber.transcribe(file)

    assert transcript.coverage is not None
    assert [gap.reason for gap in transcript.coverage.gaps] == [GapReason.DAMAGED]
    assert transcript.text.rstrip(".").endswith("amiable himself")
    assert transcript.words[-1].start == pytest.approx(whole.words[-1].start, abs=0.2)
    assert word_error_rate(" ".join(WORDS.values()), transcript.text) <= 0.2


async def test_track_without_decoder_costs_nothing(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    file = encode(tmp_path / "a.mov", [speech(), speech()], "mov", "aac", default=0)

    transcript = await transcriber.transcribe(hide_codec(file, track=0))

    assert word_error_rate(" ".join(WORDS.values()), transcript.text) <= 0.05


async def test_missing_file_is_unreadable_and_does_not_end_the_process(
    transcriber: LocalTranscriber, tmp_path: Path
) -> None:
    await transcriber.warm_up()
    pid = transcriber.processes[0].pid

    with pytest.raises(CannotTranscribe, match="could not read"):
        await transcriber.transcribe(tmp_path / "missing.ogg")

    assert transcriber.processes[0].pid == pid


async def test_speech_process_has_no_secrets_limits_and_no_sockets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("DATABASE_URL", "mysql://secret")
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    transcriber = LocalTranscriber(None)
    try:
        await transcriber.warm_up()
        pid = transcriber.processes[0].pid
        process = Path(f"/proc/{pid}")
        environment = process.joinpath("environ").read_bytes().split(b"\0")
        limits = process.joinpath("limits").read_text()
        work = asyncio.create_task(transcriber.transcribe(_write(tmp_path, speech())))
        sockets: set[str] = set()
        while not work.done():
            sockets |= _list_sockets(process)
            await asyncio.sleep(0.005)
        transcript = await work
    finally:
        await transcriber.close()

    assert transcript.text
    assert sockets == set()
    assert not any(b"secret" in variable for variable in environment)
    assert b"ORT_DISABLE_TELEMETRY=1" in environment
    assert b"HF_HUB_DISABLE_TELEMETRY=1" in environment
    for name, soft in (
        ("Max open files", "256"),
        ("Max file size", str(64 * 1024**2)),
        ("Max core file size", "0"),
        ("Max address space", str(6 * 1024**3)),
    ):
        assert re.search(rf"^{name}\s+{soft}\s", limits, re.MULTILINE), name


def _list_sockets(process: Path) -> set[str]:
    """Return the sockets that a process has open."""
    found = set()
    for link in process.joinpath("fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
