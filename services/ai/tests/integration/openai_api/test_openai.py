"""OpenAI's adapters over real HTTP: what works, and every way in which it may not."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from openai_server import LEVELS, OpenAIServer, error, judged, said
from sounds import music, speech, write

from coach_ai.adapters.audio import RATE, decode
from coach_ai.adapters.openai_coach import OpenAICoach
from coach_ai.adapters.openai_speech import OpenAITranscriber, align
from coach_ai.adapters.pieces import cut, encode
from coach_ai.domain import (
    Answer,
    CannotJudge,
    CannotTranscribe,
    MainImprovement,
    Silence,
    Transcript,
    Word,
)
from coach_ai.ports import Tell, nobody
from coach_ai.spending import Spent
from coach_common.errors import Unavailable

TEXT = "Last year I fixed a broken build. I measured every step. It took two days."
ANSWER = Answer(
    "T", "Tell me about a hard problem.", TEXT, "en", 6.0,
    tuple(Word(word, i * 0.5, i * 0.5 + 0.4) for i, word in enumerate(TEXT.split())), (),
)  # fmt: skip


async def test_levels_become_scores_by_our_formula_and_quotes_get_their_times(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    server.answers = [judged()]

    found = await coach.judge(ANSWER, Spent())

    assert (found.overall_score, found.clarity_score, found.technical_score) == (77, 95, None)
    (claim,) = found.claims
    assert claim.quote == "It took two days."
    assert (claim.start_seconds, claim.end_seconds) == (5.5, 7.4)
    assert (found.provider, found.model, found.rubric_version) == ("openai", "model", "3.0.0")
    (asked,) = server.asked
    assert asked["response_format"]["json_schema"]["strict"] is True
    assert TEXT not in asked["messages"][0]["content"]
    assert TEXT in asked["messages"][1]["content"]


async def test_unclear_audio_is_said_without_asking_and_not_scored(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    doubted = tuple(replace(word, probability=0.6) for word in ANSWER.words)

    found = await coach.judge(replace(ANSWER, words=doubted), Spent())

    assert (found.overall_score, found.claims, server.asked) == (None, (), [])
    assert "audio is unclear" in found.detailed_feedback


async def test_a_claim_whose_quote_was_never_said_is_dropped_and_with_it_the_score(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    invented = {
        "kind": "strength",
        "dimension": "clarity",
        "text": "Good.",
        "quote": "I won a prize",
    }
    server.answers = [judged(claims=[invented])]

    found = await coach.judge(ANSWER, Spent())

    assert found.claims == ()
    assert found.overall_score is None
    assert found.detailed_feedback


async def test_of_three_scorings_the_middle_one_counts_and_the_spread_is_told(
    server: OpenAIServer,
) -> None:
    coach = OpenAICoach("key", server.url, "model", scorings=3)
    server.answers = [
        judged(levels=LEVELS | {"specificity": level}, summary=f"Level {level}.")
        for level in (5, 1, 3)
    ]

    for answer in server.answers:
        answer["usage"] = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}

    spent = Spent()
    found = await coach.judge(ANSWER, spent)
    await coach.close()

    assert (found.overall_score, spent.tokens) == (77, 300)
    assert found.detailed_feedback.startswith("Level 3. Scored 3 times, from ")


async def test_where_most_scorings_cannot_judge_there_is_no_score(server: OpenAIServer) -> None:
    coach = OpenAICoach("key", server.url, "model", scorings=3)
    server.answers = [judged(), judged(cannot_judge="Off topic.")]

    found = await coach.judge(ANSWER, Spent())
    await coach.close()

    assert (found.overall_score, found.detailed_feedback) == (None, "Off topic.")


async def test_a_model_that_takes_no_temperature_is_asked_without_it_from_then_on(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    refused = JSONResponse({"error": {"message": "no", "param": "temperature"}}, 400)
    server.answers = [refused, judged()]

    first, second = await coach.judge(ANSWER, Spent()), await coach.judge(ANSWER, Spent())

    assert (first.overall_score, second.overall_score) == (77, 77)
    assert [asked.get("temperature") for asked in server.asked] == [0, None, None]


async def test_the_main_thing_and_the_parts_of_the_story_stand_on_words_that_were_said(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    main = {"text": "Say what came of it.", "quote": "it took two days", "drill": "End first."}
    star = {"situation": "Last year", "task": "my job was", "action": None, "result": None}
    server.answers = [judged(main_improvement=main, star=star)]

    found = await coach.judge(ANSWER, Spent())

    assert found.main_improvement == MainImprovement(
        "Say what came of it.", "It took two days.", "End first."
    )
    assert found.star == {"situation": "Last year", "task": None, "action": None, "result": None}


async def test_a_main_thing_without_words_that_were_said_is_dropped(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    main = {"text": "Say less.", "quote": "I won a prize", "drill": "Stop earlier."}
    server.answers = [judged(main_improvement=main)]

    assert (await coach.judge(ANSWER, Spent())).main_improvement is None


async def test_what_cannot_be_judged_has_no_score_and_the_models_reason(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    server.answers = [judged(cannot_judge="This is no answer to the question.")]

    found = await coach.judge(ANSWER, Spent())

    assert (found.overall_score, found.clarity_score) == (None, None)
    assert found.detailed_feedback == "This is no answer to the question."


@pytest.mark.parametrize(
    "nonsense",
    [
        judged(levels=LEVELS | {"clarity": 101}),
        judged(levels=LEVELS | {"clarity": -1}),
        judged(levels=LEVELS | {"clarity": "ninety"}),
        judged(levels=LEVELS | {"clarity": 4.5}),
        judged(levels={}),
        judged(extra="key"),
        said('{"cannot_judge": null, "lev'),
        said(""),
        said(None),
        said("x" * 10_000_000),
        Response("<html>hello</html>", media_type="text/html"),
        {"choices": []},
    ],
    ids=lambda one: str(one)[:60],
)
async def test_nonsense_is_asked_again_and_never_becomes_a_number(
    server: OpenAIServer, coach: OpenAICoach, nonsense: Any
) -> None:
    server.answers = [nonsense]

    with pytest.raises(Unavailable):
        await coach.judge(ANSWER, Spent())

    assert 1 <= len(server.asked) <= 3


async def test_nonsense_once_is_made_good_by_the_next_answer(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    server.answers = [said("not json"), judged()]

    assert (await coach.judge(ANSWER, Spent())).overall_score == 77


async def test_an_answer_that_was_cut_off_may_work_later(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    server.answers = [said('{"cannot', finish="length")]

    with pytest.raises(Unavailable, match="cut off"):
        await coach.judge(ANSWER, Spent())


@pytest.mark.parametrize(
    "refusal",
    [
        said(None, refusal="I can't help with that."),
        said(None, finish="content_filter"),
        error(400),
    ],
    ids=["refusal", "filter", "bad request"],
)
async def test_a_refusal_is_for_good(
    server: OpenAIServer, coach: OpenAICoach, refusal: Any
) -> None:
    server.answers = [refusal]

    with pytest.raises(CannotJudge):
        await coach.judge(ANSWER, Spent())


async def test_a_busy_provider_says_when_to_come_back(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    server.answers = [error(429, retry_after="300")]

    with pytest.raises(Unavailable) as refused:
        await coach.judge(ANSWER, Spent())

    assert refused.value.retry_after_seconds == 300
    assert len(server.asked) == 1


async def test_a_passing_error_is_not_noticed(server: OpenAIServer, coach: OpenAICoach) -> None:
    server.answers = [error(500), error(503), judged()]

    assert (await coach.judge(ANSWER, Spent())).overall_score == 77


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_an_error_that_stays_may_work_later_and_tells_no_secret(
    server: OpenAIServer, coach: OpenAICoach, status: int
) -> None:
    server.answers = [error(status, "Incorrect API key provided: sk-secret")]

    with pytest.raises(Unavailable) as refused:
        await coach.judge(ANSWER, Spent())

    assert "sk-secret" not in str(refused.value)


async def test_a_provider_that_hangs_is_given_up(server: OpenAIServer) -> None:
    coach = OpenAICoach("key", server.url, "model")
    coach._client = coach._client.with_options(timeout=0.3, max_retries=0)
    server.answers = [30.0]

    with pytest.raises(Unavailable):
        await coach.judge(ANSWER, Spent())
    await coach.close()


async def test_a_provider_that_is_not_there_may_be_later() -> None:
    coach = OpenAICoach("key", "http://127.0.0.1:9/v1", "model")

    with pytest.raises(Unavailable, match="away"):
        await coach.judge(ANSWER, Spent())
    await coach.close()


async def test_without_a_key_readiness_says_so() -> None:
    coach = OpenAICoach("", None, "model")

    with pytest.raises(Unavailable, match="OPENAI_API_KEY"):
        await coach.check()
    await coach.close()


async def test_markup_links_and_control_characters_never_reach_a_person(
    server: OpenAIServer, coach: OpenAICoach
) -> None:
    evil = "<script>x</script>See ![a](http://evil/?q=1) [here](http://evil) \u202eback\x1b[31m\x00"
    server.answers = [judged(summary=evil)]

    text = (await coach.judge(ANSWER, Spent())).detailed_feedback

    assert "x" in text and "here" in text
    assert not set("<>\u202e\x1b\x00") & set(text)
    assert "http" not in text


# --- transcription


def _recording(folder: Path, seconds: float, *, pauses: tuple[float, ...] = ()) -> Path:
    samples = np.resize(speech(), int(seconds * RATE))
    for begin in pauses:
        samples[int(begin * RATE) : int((begin + 1.0) * RATE)] = 0.0
    return write(folder / "recording.m4a", samples, "ipod", "aac")


@pytest.fixture
async def transcriber(server: OpenAIServer) -> AsyncIterator[OpenAITranscriber]:
    transcriber = OpenAITranscriber("key", server.url, "gpt-transcribe", None)
    yield transcriber
    await transcriber.close()


async def test_the_sound_track_is_sent_as_small_mono_opus(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    server.answers = [{"text": " Hello there. "}]

    heard = await transcriber.transcribe(_recording(tmp_path, 20))

    assert (heard.text, heard.words, heard.model) == ("Hello there.", (), "gpt-transcribe")
    assert abs(heard.duration_seconds - 20) < 0.2
    (sent,) = server.uploads
    assert sent.startswith(b"OggS") and len(sent) < 20 * 32_000 / 8 * 1.5
    (tmp_path / "sent.ogg").write_bytes(sent)
    assert abs(len(decode(tmp_path / "sent.ogg")) / RATE - 20) < 0.2
    assert server.asked[0]["response_format"] == "json"


async def test_what_has_no_speech_is_not_sent(
    server: OpenAIServer, transcriber: OpenAITranscriber, tmp_path: Path
) -> None:
    server.answers = [{"text": "Thanks for watching!"}]
    file = write(tmp_path / "a.m4a", music(5), "ipod", "aac")

    with pytest.raises(CannotTranscribe, match="no speech"):
        await transcriber.transcribe(file)

    assert server.uploads == []


async def test_a_long_recording_is_cut_in_silence_and_its_times_put_back(
    server: OpenAIServer, tmp_path: Path
) -> None:
    transcriber = OpenAITranscriber("key", server.url, "whisper-1", None, max_piece_seconds=12)
    word = {"word": "word", "start": 1.0, "end": 2.0}
    server.answers = [{"text": "word", "language": "english", "duration": 1, "words": [word]}]

    heard = await transcriber.transcribe(_recording(tmp_path, 26, pauses=(8, 11, 22)))
    await transcriber.close()

    pieces = cut(heard.duration_seconds, heard.silences or (), 12)
    assert [one.start for one in heard.words] == pytest.approx([1 + piece[0] for piece in pieces])
    assert len(server.uploads) == len(pieces) >= 3
    for _, end in pieces[:-1]:
        assert any(pause.start < end < pause.end for pause in heard.silences or ())
    assert heard.language == "en"
    assert server.asked[0]["response_format"] == "verbose_json"


def test_pieces_cover_everything_and_none_is_too_long() -> None:
    quiet = tuple(Silence(at, at + 1) for at in (9.0, 19.0, 25.0))

    assert cut(8.0, quiet, 10.0) == [(0.0, 8.0)]
    assert cut(30.0, quiet, 10.0) == [(0.0, 9.5), (9.5, 19.5), (19.5, 25.5), (25.5, 30.0)]
    assert cut(25.0, (), 10.0) == [(0.0, 10.0), (10.0, 20.0), (20.0, 25.0)]


def test_half_an_hour_stays_under_the_limit_of_25_megabytes() -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 60 * RATE).astype(np.float32)

    assert len(encode(noise)) * 10 < 25_000_000


def test_words_get_the_times_at_which_they_were_heard_and_no_others() -> None:
    heard = (
        Word("I", 0.0, 0.2),
        Word("fixed", 0.3, 0.6),
        Word("uh", 0.6, 0.7),
        Word("it.", 0.8, 1),
    )

    aligned = align("I repaired it, so to say.", heard)

    assert [(word.text, word.start) for word in aligned] == [("I", 0.0), ("it,", 0.8)]


class _Local:
    """A local model that hears the same words."""

    async def transcribe(self, recording: Path, tell: Tell = nobody) -> Transcript:
        words = (Word("Hello", 1.0, 1.4), Word("there", 1.5, 1.9))
        return Transcript("Hello there", "en", 20.0, "local", "base", words)

    async def warm_up(self) -> None: ...

    async def check(self) -> None: ...

    async def close(self) -> None: ...


async def test_where_the_model_gives_no_times_the_local_one_is_aligned(
    server: OpenAIServer, tmp_path: Path
) -> None:
    transcriber = OpenAITranscriber("key", server.url, "gpt-transcribe", _Local())
    server.answers = [{"text": "Hello, there!"}]

    heard = await transcriber.transcribe(_recording(tmp_path, 3))
    await transcriber.close()

    assert [(word.text, word.start) for word in heard.words] == [("Hello,", 1.0), ("there!", 1.5)]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(400), CannotTranscribe),
        ({"text": "  "}, CannotTranscribe),
        (error(429, retry_after="9999"), Unavailable),
        (error(500), Unavailable),
        (error(401), Unavailable),
        (Response("<html>", media_type="text/html"), Unavailable),
    ],
)
async def test_each_failure_is_for_good_or_for_later(
    server: OpenAIServer,
    transcriber: OpenAITranscriber,
    tmp_path: Path,
    answer: Any,
    kind: type[Exception],
) -> None:
    server.answers = [answer]

    with pytest.raises(kind):
        await transcriber.transcribe(_recording(tmp_path, 2))
