"""Plan, intents, gaps, flow and assessment of an interview, as pure functions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach_ai.domain import (
    Feedback,
    Importance,
    PointCoverage,
    PointStatus,
    QuestionType,
    Seniority,
)
from coach_ai.interview.answer_clock import AnswerClock, read_clock
from coach_ai.interview.assessment import assess
from coach_ai.interview.company_style import load_company_styles
from coach_ai.interview.flow import Step, decide, join_answer
from coach_ai.interview.gaps import GOOD_SCORE, find_gap
from coach_ai.interview.intents import find_intent
from coach_ai.interview.model import (
    MAX_FOLLOW_UPS,
    MAX_TURNS,
    CompanyStyle,
    DepthProbe,
    Gap,
    GapKind,
    Intent,
    Interview,
    InterviewSetup,
    InterviewStatus,
    InterviewType,
    Manner,
    Persona,
    Position,
    Turn,
)
from coach_ai.interview.plan import choose_plan
from coach_ai.interview.wording import SUBJECTS, load_phrases, write_opening, write_response
from coach_ai.questions.question_bank import load_question_bank
from coach_ai.scoring.rubric import load_rubric
from coach_ai.text import tokenize
from coach_common.ids import new_id

NOW = datetime(2026, 11, 26, tzinfo=UTC)
NEUTRAL = Persona(Manner.NEUTRAL, Position.RECRUITER)
UNSCORED = Feedback(None, None, None, None, (), "Too short.", "p", "m", "4")
STORY = "Our build broke each night. We looked at it together. We changed the cache."


def _setup(kind: InterviewType, limit: int = 3) -> InterviewSetup:
    return InterviewSetup("T", kind, NEUTRAL, question_limit=limit)


def _start(kind: InterviewType, seed: str = "1", limit: int = 3) -> Interview:
    setup = _setup(kind, limit)
    plan = choose_plan(load_question_bank().values(), setup, seed=seed)
    return Interview(new_id(), new_id(), setup, plan, NOW, NOW)


def _feedback(score: int | None = 60, **changes: object) -> Feedback:
    return replace(UNSCORED, overall_score=score, clarity_score=score, **changes)  # type: ignore[arg-type]


def _point(status: PointStatus, point_id: str = "p1") -> PointCoverage:
    return PointCoverage(point_id, "It keeps order.", Importance.MUST, status)


def _play(
    interview: Interview, messages: list[tuple[str, Feedback]], persona: Persona = NEUTRAL
) -> tuple[Interview, list[Turn], list[Step]]:
    """Send messages until the interview is over. Return its state, turns and steps."""
    opening = write_opening(persona, interview.current)
    turns = [Turn(0, 1, Intent.ANSWER, "", opening, NOW)]
    steps = []
    for text, feedback in messages:
        if interview.status is InterviewStatus.COMPLETED:
            break
        intent = find_intent(text)
        number = interview.question_number
        scored = feedback if intent is Intent.ANSWER else None
        answer = join_answer(turns, number, text)
        decision = decide(interview, turns, intent, answer, scored)
        response = write_response(persona, decision)
        turns.append(
            Turn(len(turns), number, intent, text, response, NOW, gap=decision.gap, feedback=scored)
        )
        steps.append(decision.step)
        is_over = decision.step is Step.CLOSE
        interview = replace(
            interview,
            question_number=decision.question_number,
            turn_count=interview.turn_count + 1,
            status=InterviewStatus.COMPLETED if is_over else interview.status,
        )
    return interview, turns, steps


@given(
    kind=st.sampled_from(InterviewType),
    seed=st.text(max_size=8),
    limit=st.integers(1, 10),
    seniority=st.sampled_from([None, *Seniority]),
)
@settings(max_examples=60, deadline=None)
def test_plan_has_different_questions_and_is_repeatable(
    kind: InterviewType, seed: str, limit: int, seniority: Seniority | None
) -> None:
    setup = replace(_setup(kind, limit), seniority=seniority)
    bank = load_question_bank().values()
    plan = choose_plan(bank, setup, seed=seed)

    ids = [one.question.id for one in plan.questions]
    assert len(ids) == len(set(ids)) == limit
    assert plan == choose_plan(bank, setup, seed=seed)
    assert plan.minutes > 0 and set(plan.competences) == {o.competence for o in plan.questions}


def test_plan_prefers_fields_of_the_role_and_new_questions() -> None:
    bank = load_question_bank().values()
    setup = replace(_setup(InterviewType.TECHNICAL, 1), role="Engineer for databases")
    first = choose_plan(bank, setup, seed="1").questions[0].question
    second = choose_plan(bank, setup, seed="1", avoid={first.id}).questions[0].question

    assert (first.field, second.id == first.id) == ("databases", False)


@given(
    style=st.sampled_from(CompanyStyle),
    kind=st.sampled_from(InterviewType),
    limit=st.none() | st.integers(1, 10),
    seniority=st.sampled_from([None, *Seniority]),
    seed=st.text(max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_each_company_style_gives_a_valid_plan(
    style: CompanyStyle,
    kind: InterviewType,
    limit: int | None,
    seniority: Seniority | None,
    seed: str,
) -> None:
    setup = InterviewSetup(
        "T", kind, NEUTRAL, seniority=seniority, question_limit=limit, style=style
    )
    bank = load_question_bank()
    plan = choose_plan(bank.values(), setup, seed=seed)
    description = load_company_styles()[style]
    rounds = {one.name: one for one in description.rounds[kind]}

    ids = [one.question.id for one in plan.questions]
    expected = limit or sum(one.questions for one in rounds.values())
    assert len(ids) == len(set(ids)) == expected
    names = [one.round for one in plan.questions]
    assert list(dict.fromkeys(names)) == [name for name in rounds if name in names]
    if limit is None:
        for planned in plan.questions:
            question = planned.question
            assert planned.competence in rounds[planned.round or ""].competences
            assert planned.competence in (question.field, *question.tags)
    assert description.title and description.values
    assert plan == choose_plan(bank.values(), setup, seed=seed)


def test_company_styles_ask_for_different_competences() -> None:
    bank = load_question_bank().values()
    plans = {
        style: choose_plan(
            bank, replace(_setup(InterviewType.BEHAVIORAL), style=style, question_limit=None),
            seed="1",
        ).competences
        for style in CompanyStyle
    }  # fmt: skip

    assert len(set(plans.values())) == len(CompanyStyle)
    assert "ethics" in plans[CompanyStyle.PUBLIC_SECTOR]


def test_depth_of_a_company_style_limits_the_follow_ups_for_depth() -> None:
    counts = {}
    for style in (None, *CompanyStyle):
        interview = _start(InterviewType.BEHAVIORAL)
        interview = replace(interview, setup=replace(interview.setup, style=style))
        messages = [("I changed the cache. It took 2 days.", _feedback(90))] * 3
        _, turns, _ = _play(interview, messages)
        counts[style] = sum(turn.question_number == 1 and turn.gap is not None for turn in turns)

    assert counts[None] == 1
    for style, description in load_company_styles().items():
        assert counts[style] == description.depth


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Give me a moment, please.", Intent.MOMENT),
        ("Let me think about it", Intent.MOMENT),
        ("One moment please", Intent.MOMENT),
        ("Could you repeat the question?", Intent.REPEAT),
        ("Say that again please", Intent.REPEAT),
        ("skip", Intent.SKIP),
        ("Can we skip this question?", Intent.SKIP),
        ("Next question please", Intent.SKIP),
        ("Can you give me a hint?", Intent.HINT),
        ("Hint", Intent.HINT),
        ("We repeat the test each night.", Intent.ANSWER),
        ("I skip lists in Redis because they are slow.", Intent.ANSWER),
        ("A hint in SQL forces an index.", Intent.ANSWER),
        ("", Intent.ANSWER),
        (STORY, Intent.ANSWER),
    ],
)
def test_short_requests_are_understood(text: str, intent: Intent) -> None:
    assert find_intent(text) is intent


@given(st.lists(st.sampled_from(["skip", "hint", "repeat", "please", "moment"]), min_size=13))
def test_long_messages_are_always_answers(words: list[str]) -> None:
    assert find_intent(" ".join(words)) is Intent.ANSWER


def test_gaps_of_a_story_are_probed_in_order() -> None:
    missing = _feedback(star={"situation": "x", "result": None})
    figureless = _feedback(star={"situation": "x", "result": "The build was fast again."})
    group = find_gap(STORY, figureless, QuestionType.STORY)
    text = "I changed the cache. The build was fast again."

    assert (gap := find_gap(STORY, missing, QuestionType.STORY)) is not None
    assert (gap.kind, gap.quote) == (GapKind.RESULT_MISSING, "We changed the cache.")
    assert group is not None and group.kind is GapKind.OWN_PART_UNCLEAR
    assert (gap := find_gap(text, figureless, QuestionType.STORY)) is not None
    assert (gap.kind, gap.quote) == (GapKind.NO_FIGURE, "The build was fast again.")
    assert find_gap(f"{text} It took 4 minutes.", figureless, QuestionType.STORY) is None


def test_expected_points_are_probed_once_each() -> None:
    scored = _feedback(points=(_point(PointStatus.MISSING), _point(PointStatus.PARTLY, "p2")))
    first = find_gap("It is a tree.", scored, QuestionType.KNOWLEDGE)
    assert first is not None
    second = find_gap("It is a tree.", scored, QuestionType.KNOWLEDGE, [first])
    assert second is not None

    assert [first.point_id, second.point_id] == ["p1", "p2"]
    assert find_gap("It is a tree.", scored, QuestionType.KNOWLEDGE, [first, second]) is None
    assert find_gap("It is a tree.", UNSCORED, QuestionType.KNOWLEDGE) is None


@pytest.mark.parametrize(
    ("kind", "answer", "probe"),
    [
        (QuestionType.STORY, "I changed the cache. It took 2 days.", DepthProbe.DIFFERENTLY),
        (
            QuestionType.STORY,
            "I changed the cache. In hindsight I would start earlier, in 2 days.",
            DepthProbe.ALTERNATIVE,
        ),
        (QuestionType.KNOWLEDGE, "A tree keeps the keys sorted.", DepthProbe.TRADE_OFF),
        (QuestionType.KNOWLEDGE, "It costs writes instead of reads.", DepthProbe.SCALE),
        (QuestionType.CASE, "I put a queue in front.", DepthProbe.SCALE),
        (QuestionType.MOTIVE, "I like the product.", DepthProbe.ALTERNATIVE),
        (QuestionType.ABOUT_YOU, "I am patient.", None),
    ],
)
def test_good_answer_without_a_gap_is_probed_for_depth(
    kind: QuestionType, answer: str, probe: DepthProbe | None
) -> None:
    found = find_gap(answer, _feedback(GOOD_SCORE), kind)

    assert (found and found.probe) == probe
    assert found is None or (found.kind is GapKind.DEPTH and found.quote in answer)
    assert find_gap(answer, _feedback(GOOD_SCORE - 1), kind) is None
    assert find_gap(answer, _feedback(GOOD_SCORE), kind, [found] if found else []) is None


def test_depth_is_probed_only_without_any_gap_and_quotes_the_subject() -> None:
    answer = "It is a tree. It keeps the keys in their order, and a lookup takes a few steps."
    covered = replace(_point(PointStatus.COVERED), quote="It is a tree.")
    missing = _feedback(95, points=(covered, _point(PointStatus.MISSING, "p2")))
    complete = _feedback(95, points=(covered,))
    gap = find_gap(answer, missing, QuestionType.KNOWLEDGE)
    depth = find_gap(answer, complete, QuestionType.KNOWLEDGE)

    assert gap is not None and gap.kind is GapKind.POINT_NOT_COVERED
    assert find_gap(answer, missing, QuestionType.KNOWLEDGE, [gap]) is None
    assert depth is not None and depth.quote == "It is a tree."
    deeper = find_gap(answer, complete, QuestionType.KNOWLEDGE, [depth], max_depth=2)
    assert deeper is not None and deeper.probe is DepthProbe.ALTERNATIVE


def test_good_score_is_level_4_of_the_rubric() -> None:
    assert load_rubric().points[4] == GOOD_SCORE


_MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(
            ["skip", "hint", "repeat that", "one moment", STORY, "I did it. It took 2 days.", "?"]
        ),
        st.builds(
            _feedback,
            score=st.sampled_from([None, 20, 90]),
            star=st.sampled_from([{}, {"result": None}, {"result": "We changed the cache."}]),
            points=st.lists(
                st.builds(
                    _point,
                    status=st.sampled_from(PointStatus),
                    point_id=st.sampled_from(["p1", "p2", "p3"]),
                ),
                max_size=3,
            ).map(tuple),
        ),
    ),
    max_size=30,
)


@given(
    kind=st.sampled_from(InterviewType),
    messages=_MESSAGES,
    manner=st.sampled_from(Manner),
    position=st.sampled_from(Position),
)
@settings(max_examples=100, deadline=None)
def test_interview_keeps_its_rules(
    kind: InterviewType,
    messages: list[tuple[str, Feedback]],
    manner: Manner,
    position: Position,
) -> None:
    interview = _start(kind)
    final, turns, steps = _play(interview, messages, Persona(manner, position))
    _, neutral_turns, neutral_steps = _play(interview, messages)

    for number, planned in enumerate(interview.plan.questions, 1):
        probes = [turn for turn in turns if turn.question_number == number and turn.gap]
        assert len(probes) <= MAX_FOLLOW_UPS
        for turn in probes:
            assert turn.gap is not None
            assert turn.gap.quote in turn.response
            assert turn.gap.quote in join_answer(turns, number)
        asked = [turn for turn in turns if planned.question.text in turn.response]
        repeats = [turn for turn in asked if turn.intent is Intent.REPEAT]
        assert len(asked) - len(repeats) <= 1
    # The words of the interviewer, apart from questions and quotes, are the persona's alone.
    for turn in turns:
        spoken = turn.response
        for planned in interview.plan.questions:
            spoken = spoken.replace(planned.question.text, "")
            for point in planned.question.points:
                assert tokenize(point.text) != tokenize(spoken) and point.text not in spoken
    # The persona changes the words only.
    assert steps == neutral_steps
    assert [turn.gap for turn in turns] == [turn.gap for turn in neutral_turns]
    at = NOW + timedelta(minutes=5)
    assert assess(final, turns, at=at) == assess(final, neutral_turns, at=at)


def test_last_possible_turn_ends_the_interview() -> None:
    messages = [("one moment please", UNSCORED)] * (MAX_TURNS + 5)
    final, turns, steps = _play(_start(InterviewType.CASE), messages)

    assert (final.status, len(turns)) == (InterviewStatus.COMPLETED, MAX_TURNS)
    assert steps[-1] is Step.CLOSE


def test_every_persona_has_all_phrases() -> None:
    phrases = load_phrases()
    names = {frozenset(phrases.manners[manner]) for manner in Manner}

    assert len(names) == 1
    assert set(phrases.hints) == set(QuestionType)
    assert all(len(phrases.follow_ups[kind]) == MAX_FOLLOW_UPS for kind in SUBJECTS)


def test_assessment_joins_scores_and_leaves_the_rest_null() -> None:
    first = _feedback(81, points=(_point(PointStatus.MISSING),))
    interview = _start(InterviewType.BEHAVIORAL)
    final, turns, _ = _play(
        interview, [("I did it. It took 2 days.", first)] * 2 + [("skip", UNSCORED)]
    )
    found = assess(final, turns, at=NOW)

    assert (found.overall_score, found.technical_score) == (81, None)
    assert [one.reason for one in found.answers] == [
        None,
        "You skipped this question.",
        "The interview ended before this question was answered.",
    ]
    assert found.answers[0].follow_ups == 1
    assert [one.text for one in found.study_plan] == [
        "Not found in your answer: It keeps order.",
        f"Prepare an answer to: {interview.plan.questions[1].question.text}",
    ]
    empty = assess(interview, turns[:1], at=NOW)
    assert empty.overall_score is None and empty.study_plan == ()


@pytest.mark.parametrize(
    ("presigned", "is_used"), [(-1, False), (0, True), (40, True), (100, True), (101, False)]
)
def test_answer_counts_from_the_start_of_its_upload_if_that_is_plausible(
    presigned: int, is_used: bool
) -> None:
    clock = AnswerClock(NOW, NOW + timedelta(seconds=30))
    started_at, arrived_at = NOW + timedelta(seconds=presigned), NOW + timedelta(seconds=100)
    key = f"uploads/u/{int(started_at.timestamp() * 1000)}_0a1b2c3d.m4a"
    found = clock.find_answer_time(key, arrived_at=arrived_at)

    assert found == (started_at if is_used else arrived_at)
    for other in (None, "uploads/u/voice.m4a", "uploads/u/99999999999999_0a.m4a"):
        assert clock.find_answer_time(other, arrived_at=arrived_at) == arrived_at


def test_follow_up_starts_the_clock_again_and_requests_do_not() -> None:
    interview = _start(InterviewType.BEHAVIORAL)
    setup = replace(interview.setup, time_limit_seconds=60)
    interview = replace(interview, setup=setup)
    times = [NOW + timedelta(seconds=10 * number) for number in range(4)]
    gap = Gap(GapKind.NO_FIGURE, "x")
    turns = [
        Turn(0, 1, Intent.ANSWER, "", "", times[0]),
        Turn(1, 1, Intent.MOMENT, "wait", "", times[1]),
        Turn(2, 1, Intent.ANSWER, "a", "", times[2], gap=gap),
        Turn(3, 1, Intent.REPEAT, "repeat", "", times[3]),
    ]

    assert [read_clock(interview, turns[: count + 1]).asked_at for count in range(4)] == [
        times[0], times[0], times[2], times[2],
    ]  # fmt: skip
    second = replace(interview, question_number=2)
    assert read_clock(second, turns).asked_at == times[3]
