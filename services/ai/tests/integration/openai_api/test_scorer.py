"""OpenAI's adapters over real HTTP: what works, and every way in which it may not."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import Response
from fastapi.responses import JSONResponse

from coach_ai.domain import (
    Answer,
    CannotScore,
    CannotTranscribe,
    MainImprovement,
    Silence,
    Transcript,
    Word,
)
from coach_ai.openai.scorer import OpenAIScorer
from coach_ai.openai.transcriber import OpenAITranscriber, align
from coach_ai.ports import ProgressCallback, ignore_progress
from coach_ai.speech.audio import SAMPLE_RATE, decode
from coach_ai.speech.chunking import encode_opus, split_at_silence
from coach_ai.token_usage import TokenUsage
from coach_common.errors import Unavailable
from support.openai_server import (
    LEVELS,
    OpenAIServer,
    completion,
    error_response,
    scoring_completion,
)
from support.sounds import music, speech, write_recording

TEXT = "Last year I fixed a broken build. I measured every step. It took two days."
ANSWER = Answer(
    "T", "Tell me about a hard problem.", TEXT, "en", 6.0,
    tuple(Word(word, i * 0.5, i * 0.5 + 0.4) for i, word in enumerate(TEXT.split())), (),
)  # fmt: skip


async def test_levels_become_scores_and_quotes_get_times(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [scoring_completion()]

    found = await scorer.score(ANSWER, TokenUsage())

    assert (found.overall_score, found.clarity_score, found.technical_score) == (77, 95, None)
    (claim,) = found.remarks
    assert claim.quote == "It took two days."
    assert (claim.start_seconds, claim.end_seconds) == (5.5, 7.4)
    assert (found.provider, found.model, found.rubric_version) == ("openai", "model", "3.0.0")
    (asked,) = server.requests
    assert asked["response_format"]["json_schema"]["strict"] is True
    assert TEXT not in asked["messages"][0]["content"]
    assert TEXT in asked["messages"][1]["content"]


async def test_unclear_audio_is_rejected_without_a_request(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    doubted = tuple(replace(word, probability=0.6) for word in ANSWER.words)

    found = await scorer.score(replace(ANSWER, words=doubted), TokenUsage())

    assert (found.overall_score, found.remarks, server.requests) == (None, (), [])
    assert "audio is too unclear" in found.detailed_feedback


async def test_remark_without_verified_quote_is_dropped_with_the_score(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    invented = {
        "kind": "strength",
        "dimension": "clarity",
        "text": "Good.",
        "quote": "I won a prize",
    }
    server.answers = [scoring_completion(claims=[invented])]

    found = await scorer.score(ANSWER, TokenUsage())

    assert found.remarks == ()
    assert found.overall_score is None
    assert found.detailed_feedback


async def test_median_of_three_scorings_states_the_range(
    server: OpenAIServer,
) -> None:
    scorer = OpenAIScorer("key", server.url, "model", samples=3)
    server.answers = [
        scoring_completion(levels=LEVELS | {"specificity": level}, summary=f"Level {level}.")
        for level in (5, 1, 3)
    ]

    for answer in server.answers:
        answer["usage"] = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}

    spent = TokenUsage()
    found = await scorer.score(ANSWER, spent)
    await scorer.close()

    assert (found.overall_score, spent.tokens) == (77, 300)
    assert found.detailed_feedback.startswith("Level 3. Scored 3 times, from ")


async def test_score_is_null_if_most_scorings_have_none(server: OpenAIServer) -> None:
    scorer = OpenAIScorer("key", server.url, "model", samples=3)
    server.answers = [scoring_completion(), scoring_completion(cannot_judge="Off topic.")]

    found = await scorer.score(ANSWER, TokenUsage())
    await scorer.close()

    assert (found.overall_score, found.detailed_feedback) == (None, "Off topic.")


async def test_temperature_is_omitted_after_the_model_rejects_it(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    refused = JSONResponse({"error": {"message": "no", "param": "temperature"}}, 400)
    server.answers = [refused, scoring_completion()]

    first, second = (
        await scorer.score(ANSWER, TokenUsage()),
        await scorer.score(ANSWER, TokenUsage()),
    )

    assert (first.overall_score, second.overall_score) == (77, 77)
    assert [asked.get("temperature") for asked in server.requests] == [0, None, None]


async def test_main_improvement_and_star_have_verified_quotes(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    main = {"text": "Say what came of it.", "quote": "it took two days", "drill": "End first."}
    star = {"situation": "Last year", "task": "my job was", "action": None, "result": None}
    server.answers = [scoring_completion(main_improvement=main, star=star)]

    found = await scorer.score(ANSWER, TokenUsage())

    assert found.main_improvement == MainImprovement(
        "Say what came of it.", "It took two days.", "End first."
    )
    assert found.star == {"situation": "Last year", "task": None, "action": None, "result": None}


async def test_main_improvement_without_verified_quote_is_dropped(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    main = {"text": "Say less.", "quote": "I won a prize", "drill": "Stop earlier."}
    server.answers = [scoring_completion(main_improvement=main)]

    assert (await scorer.score(ANSWER, TokenUsage())).main_improvement is None


async def test_unscorable_answer_has_null_scores_and_the_models_reason(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [scoring_completion(cannot_judge="This is no answer to the question.")]

    found = await scorer.score(ANSWER, TokenUsage())

    assert (found.overall_score, found.clarity_score) == (None, None)
    assert found.detailed_feedback == "This is no answer to the question."


@pytest.mark.parametrize(
    "nonsense",
    [
        scoring_completion(levels=LEVELS | {"clarity": 101}),
        scoring_completion(levels=LEVELS | {"clarity": -1}),
        scoring_completion(levels=LEVELS | {"clarity": "ninety"}),
        scoring_completion(levels=LEVELS | {"clarity": 4.5}),
        scoring_completion(levels={}),
        scoring_completion(extra="key"),
        completion('{"cannot_judge": null, "lev'),
        completion(""),
        completion(None),
        completion("x" * 10_000_000),
        Response("<html>hello</html>", media_type="text/html"),
        {"choices": []},
    ],
    ids=lambda one: str(one)[:60],
)
async def test_invalid_response_is_retried_then_unavailable(
    server: OpenAIServer, scorer: OpenAIScorer, nonsense: Any
) -> None:
    server.answers = [nonsense]

    with pytest.raises(Unavailable):
        await scorer.score(ANSWER, TokenUsage())

    assert 1 <= len(server.requests) <= 3


async def test_single_invalid_response_is_recovered(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [completion("not json"), scoring_completion()]

    assert (await scorer.score(ANSWER, TokenUsage())).overall_score == 77


async def test_truncated_response_is_unavailable(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    server.answers = [completion('{"cannot', finish="length")]

    with pytest.raises(Unavailable, match="truncated"):
        await scorer.score(ANSWER, TokenUsage())


@pytest.mark.parametrize(
    "refusal",
    [
        completion(None, refusal="I can't help with that."),
        completion(None, finish="content_filter"),
        error_response(400),
    ],
    ids=["refusal", "filter", "bad request"],
)
async def test_refusal_raises_cannot_score(
    server: OpenAIServer, scorer: OpenAIScorer, refusal: Any
) -> None:
    server.answers = [refusal]

    with pytest.raises(CannotScore):
        await scorer.score(ANSWER, TokenUsage())


async def test_busy_provider_sets_retry_after(server: OpenAIServer, scorer: OpenAIScorer) -> None:
    server.answers = [error_response(429, retry_after="300")]

    with pytest.raises(Unavailable) as refused:
        await scorer.score(ANSWER, TokenUsage())

    assert refused.value.retry_after_seconds == 300
    assert len(server.requests) == 1


async def test_transient_error_is_retried(server: OpenAIServer, scorer: OpenAIScorer) -> None:
    server.answers = [error_response(500), error_response(503), scoring_completion()]

    assert (await scorer.score(ANSWER, TokenUsage())).overall_score == 77


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_persistent_error_is_unavailable_without_secrets(
    server: OpenAIServer, scorer: OpenAIScorer, status: int
) -> None:
    server.answers = [error_response(status, "Incorrect API key provided: sk-secret")]

    with pytest.raises(Unavailable) as refused:
        await scorer.score(ANSWER, TokenUsage())

    assert "sk-secret" not in str(refused.value)


async def test_hanging_provider_times_out(server: OpenAIServer) -> None:
    scorer = OpenAIScorer("key", server.url, "model")
    scorer._client = scorer._client.with_options(timeout=0.3, max_retries=0)
    server.answers = [30.0]

    with pytest.raises(Unavailable):
        await scorer.score(ANSWER, TokenUsage())
    await scorer.close()


async def test_unreachable_provider_is_unavailable() -> None:
    scorer = OpenAIScorer("key", "http://127.0.0.1:9/v1", "model")

    with pytest.raises(Unavailable, match="unavailable"):
        await scorer.score(ANSWER, TokenUsage())
    await scorer.close()


async def test_readiness_fails_without_a_key() -> None:
    scorer = OpenAIScorer("", None, "model")

    with pytest.raises(Unavailable, match="OPENAI_API_KEY"):
        await scorer.check()
    await scorer.close()


async def test_feedback_contains_no_markup_links_or_control_characters(
    server: OpenAIServer, scorer: OpenAIScorer
) -> None:
    evil = "<script>x</script>See ![a](http://evil/?q=1) [here](http://evil) \u202eback\x1b[31m\x00"
    server.answers = [scoring_completion(summary=evil)]

    text = (await scorer.score(ANSWER, TokenUsage())).detailed_feedback

    assert "x" in text and "here" in text
    assert not set("<>\u202e\x1b\x00") & set(text)
    assert "http" not in text


# --- transcription


def _recording(folder: Path, seconds: float, *, pauses: tuple[float, ...] = ()) -> Path:
    samples = np.resize(speech(), int(seconds * SAMPLE_RATE))
    for begin in pauses:
        samples[int(begin * SAMPLE_RATE) : int((begin + 1.0) * SAMPLE_RATE)] = 0.0
    return write_recording(folder / "recording.m4a", samples, "ipod", "aac")


@pytest.fixture
async def transcriber(server: OpenAIServer) -> AsyncIterator[OpenAITranscriber]:
    transcriber = OpenAITranscriber("key", server.url, "gpt-transcribe", None)
    yield transcriber
    await transcriber.close()


async def test_audio_is_sent_as_mono_opus(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    server.answers = [{"text": " Hello there. "}]

    transcript = await transcriber.transcribe(_recording(tmp_path, 20))

    assert (transcript.text, transcript.words, transcript.model) == (
        "Hello there.",
        (),
        "gpt-transcribe",
    )
    assert abs(transcript.duration_seconds - 20) < 0.2
    (sent,) = server.uploads
    assert sent.startswith(b"OggS") and len(sent) < 20 * 32_000 / 8 * 1.5
    (tmp_path / "sent.ogg").write_bytes(sent)
    assert abs(len(decode(tmp_path / "sent.ogg")) / SAMPLE_RATE - 20) < 0.2
    assert server.requests[0]["response_format"] == "json"


async def test_recording_without_speech_is_not_sent(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    server.answers = [{"text": "Thanks for watching!"}]
    file = write_recording(tmp_path / "a.m4a", music(5), "ipod", "aac")

    with pytest.raises(CannotTranscribe, match="no speech"):
        await transcriber.transcribe(file)

    assert server.uploads == []


async def test_long_recording_is_split_at_silence_and_times_are_shifted(
    server: OpenAIServer, tmp_path: Path
) -> None:
    transcriber = OpenAITranscriber("key", server.url, "whisper-1", None, max_chunk_seconds=12)
    word = {"word": "word", "start": 1.0, "end": 2.0}
    server.answers = [{"text": "word", "language": "english", "duration": 1, "words": [word]}]

    transcript = await transcriber.transcribe(_recording(tmp_path, 26, pauses=(8, 11, 22)))
    await transcriber.close()

    pieces = split_at_silence(transcript.duration_seconds, transcript.silences or (), 12)
    assert [one.start for one in transcript.words] == pytest.approx(
        [1 + piece[0] for piece in pieces]
    )
    assert len(server.uploads) == len(pieces) >= 3
    for _, end in pieces[:-1]:
        assert any(pause.start < end < pause.end for pause in transcript.silences or ())
    assert transcript.language == "en"
    assert server.requests[0]["response_format"] == "verbose_json"


def test_chunks_cover_the_recording_and_respect_max_seconds() -> None:
    quiet = tuple(Silence(at, at + 1) for at in (9.0, 19.0, 25.0))

    assert split_at_silence(8.0, quiet, 10.0) == [(0.0, 8.0)]
    assert split_at_silence(30.0, quiet, 10.0) == [
        (0.0, 9.5),
        (9.5, 19.5),
        (19.5, 25.5),
        (25.5, 30.0),
    ]
    assert split_at_silence(25.0, (), 10.0) == [(0.0, 10.0), (10.0, 20.0), (20.0, 25.0)]


def test_half_an_hour_of_opus_is_under_25_megabytes() -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 60 * SAMPLE_RATE).astype(np.float32)

    assert len(encode_opus(noise)) * 10 < 25_000_000


def test_align_uses_only_times_of_matching_words() -> None:
    transcript = (
        Word("I", 0.0, 0.2),
        Word("fixed", 0.3, 0.6),
        Word("uh", 0.6, 0.7),
        Word("it.", 0.8, 1),
    )

    aligned = align("I repaired it, so to say.", transcript)

    assert [(word.text, word.start) for word in aligned] == [("I", 0.0), ("it,", 0.8)]


class _Local:
    """A local model that hears the same words."""

    async def transcribe(
        self, recording: Path, on_progress: ProgressCallback = ignore_progress
    ) -> Transcript:
        words = (Word("Hello", 1.0, 1.4), Word("there", 1.5, 1.9))
        return Transcript("Hello there", "en", 20.0, "local", "base", words)

    async def warm_up(self) -> None: ...

    async def check(self) -> None: ...

    async def close(self) -> None: ...


async def test_local_times_are_aligned_if_model_returns_none(
    server: OpenAIServer, tmp_path: Path
) -> None:
    transcriber = OpenAITranscriber("key", server.url, "gpt-transcribe", _Local())
    server.answers = [{"text": "Hello, there!"}]

    transcript = await transcriber.transcribe(_recording(tmp_path, 3))
    await transcriber.close()

    assert [(word.text, word.start) for word in transcript.words] == [
        ("Hello,", 1.0),
        ("there!", 1.5),
    ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error_response(400), CannotTranscribe),
        ({"text": "  "}, CannotTranscribe),
        (error_response(429, retry_after="9999"), Unavailable),
        (error_response(500), Unavailable),
        (error_response(401), Unavailable),
        (Response("<html>", media_type="text/html"), Unavailable),
    ],
)
async def test_transcription_failure_is_final_or_retryable(
    server: OpenAIServer,
    transcriber: OpenAITranscriber,
    tmp_path: Path,
    answer: Any,
    kind: type[Exception],
) -> None:
    server.answers = [answer]

    with pytest.raises(kind):
        await transcriber.transcribe(_recording(tmp_path, 2))
