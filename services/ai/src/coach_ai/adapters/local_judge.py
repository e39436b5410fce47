"""The local judge: the rubric from signals that can be pointed at. No model, no network.

It says plainly what it cannot judge: it does not know whether a technical claim is right.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from coach_ai import delivery
from coach_ai.domain import UNCLEAR, Answer, Claim, Judgement, MainImprovement
from coach_ai.evidence import Sentence, claim, sentences_of, tokens_of
from coach_ai.rubric import Rubric, Scores, load

PROVIDER = "local"
MODEL = "rubric-signals-1"

_MIN_WORDS = 15
_BEHAVIOURAL = re.compile(
    r"\b(tell (me|us) about (a|an|the|your last|one) (time|situation|project|example|moment)|"
    r"describe (a|an|the) (time|situation)|give (me|us) an example|have you ever|"
    r"walk (me|us) through (a|an) (time|situation)|when (did|have) you)\b"
)
_NO_ANSWER = re.compile(
    r"^\W*(i (really )?(do not|don't) know|no idea|i have no idea|pass|fine|nothing|"
    r"i can'?t (think|remember)[^.]*|n/?a)\W*$"
)
_TO_THE_JUDGE = re.compile(
    r"\b(ignore (all|the|any|your|previous)|rubric|system prompt|as an ai|you are (a|an|the) |"
    r"(give|award|assign) (me|this|it)\b.*\b(score|points|marks|\d+)|"
    r"(score|rate|grade) (me|this|it)|full marks|perfect score|best (answer|candidate) you)\b"
)

_CUES = {
    "situation": re.compile(
        r"\b(when i (was|worked|joined|started)|at my (last|previous|former|old|current)|"
        r"in my (last|previous|first|old|current)|last (year|month|summer|winter|spring|autumn"
        r"|fall|quarter|week)|(a few|two|three|some) (years|months|weeks) ago|"
        r"i was (working|leading|part|on a)|we were (working|building|running|about)|"
        r"our (team|company|service|system|customers|website|app|shop|store|client)|"
        r"there was (a|an|this)|we had (a|an|this)|the problem was|it was (late|early|a )|"
        r"(kept|was|were|started|began) (failing|crashing|losing|timing|dropping))\b"
    ),
    "task": re.compile(
        r"\b(i was (asked|responsible|given|assigned|in charge|supposed)|"
        r"my (job|task|role|goal|part|responsibility) was|"
        r"i (had|needed) to|we (had|needed) to|(the|our) goal was|"
        r"it was (up to me|my job|my task)|my manager asked|(was|were) asked to)\b"
    ),
    "action": re.compile(
        r"\b(i|we) (\w+ly |first |then |also |just |had |even )?"
        r"(started|began|decided|wrote|built|made|looked|talked|spoke|asked|measured|checked|found|"
        r"added|changed|moved|fixed|set|ran|tested|traced|reproduced|compared|split|proposed|called|"
        r"organised|organized|created|designed|replaced|removed|reviewed|sat|went|took|put|explained"
        r"|listened|analysed|analyzed|collected|drew|planned|negotiated|agreed|trained|showed|"
        r"logged|narrowed|rolled|deployed|suggested|interviewed|broke|read|learned|turned|used)\b"
    ),
    "result": re.compile(
        r"\b(as a result|in the end|since then|because of that|the result|ended up|which meant|"
        r"(went|fell|dropped|rose|grew|came|cut|reduced|increased|improved|decreased)\b[^.]*"
        r"\b(from|to|by|down|up)|saved|we (shipped|delivered|launched|finished|won|kept)|"
        r"never (happened|came|failed|lost)|has not (happened|failed)|no longer|"
        r"(customers|complaints|errors|incidents|costs|sales|it) (stopped|disappeared|worked|fell|"
        r"went)|i (was promoted|learned|learnt))\b"
    ),
}
_PARTS = tuple(_CUES)
_FIRST_PERSON = re.compile(r"\b(i|i'm|i'd|i've|my|me|we|we'd|our|us)\b")
_NUMBER = re.compile(
    r"\b(\d[\d.,]*%?|(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|"
    r"thirty|forty|fifty|sixty|ninety|hundred|thousand|million|half|twice|double)"
    r"([ -](one|two|three|four|five|six|seven|eight|nine|hundred|thousand|percent))?)\b"
)
_MEASURED = re.compile(
    r"(\d|\b(percent|half|twice|double|zero|ten|twenty|thirty|forty|fifty|hundred|thousand|two|three"
    r"|four|five|six|seven|eight|nine)\b)[^.]*\b(percent|%|times|minutes?|hours?|days?|weeks?|months?|"
    r"seconds?|dollars?|euros?|pounds?|customers?|users?|orders?|errors?|tickets?|people|payments?|"
    r"complaints?|requests?)|%"
)
_BOAST = re.compile(
    r"\b(the best|amazing|incredible|world[- ]class|genius|perfect|always succeed|never fail|"
    r"rock ?star|ninja|extremely talented|very smart)\b"
)
_STOP = frozenset(
    """
    a an and are as at be been but by did do for from had has have he her his i if in is it
    its me my not of on or our she so that the their them there they this to us was we were
    what when which who will with would you your about time tell describe give example how
    why
    """.split()  # noqa: SIM905
)

_MISSING = {
    "situation": "Open with one sentence on where and when this was, so that one sees the scene.",
    "task": "Say what was yours to do: what was asked of you, or what you took on.",
    "action": "Say what you did, step by step, with “I” and a verb for each step.",
    "result": "Say what came of it, best with a figure: your answer stops before the result.",
}
_DRILL = {
    "situation": "Say the scene in one breath: where, when, who, and what was going wrong.",
    "task": "Finish this sentence aloud three times, each time shorter: “My job was to …”.",
    "action": "List your steps on paper as “I” and a verb, then tell them without the paper.",
    "result": "Tell the story from its last sentence backwards: begin with “In the end, …”.",
    "specificity": "Find three figures (how many, how long, how much) and tell it again.",
    "clarity": "Record it again with a full stop after every idea; no sentence over twenty words.",
    "delivery": "Tell it to a recorder once more, and close your mouth after each sentence.",
    "structure": "Tell it in four sentences, one each for scene, task, action and result.",
    "relevance": "Before you speak, repeat the question in your own words, then answer just that.",
}
_FOCUS = {
    "structure": "Give the story its four parts, in order.",
    "specificity": "Put in names, steps and figures that somebody could check.",
    "clarity": "Say it in shorter sentences.",
    "relevance": "Stay closer to the question that was asked.",
    "delivery": "Let pauses do the work of fillers.",
}


@dataclass(frozen=True, slots=True)
class _Reading:
    """An answer as the signals see it: what counts of it, and where each part stands."""

    sentences: list[Sentence]
    parts: dict[str, list[Sentence]]
    measured: list[Sentence]
    figures: int


class LocalJudge:
    """Judges without a model. Deterministic."""

    def __init__(self) -> None:
        self._rubric: Rubric = load()

    def judge(self, answer: Answer) -> Judgement:
        """Judge by signals; without enough to go on, say so and give no score."""
        measured = delivery.measure(answer)
        reading = _read(answer)
        reason, quote = _why_not(answer, reading)
        if reason is not None:
            shown = (
                [] if quote is None else [claim(answer, "improvement", "relevance", reason, quote)]
            )
            return self._judgement(Scores(None, None, None, None), shown, reason, measured)
        levels: dict[str, int | None] = {
            "relevance": _relevance(answer, reading),
            "structure": _structure(reading),
            "specificity": _specificity(reading),
            "clarity": _clarity(reading),
            "delivery": _delivery(measured),
            "technical": None,
        }
        claims = (*_strengths(answer, reading), *_improvements(answer, reading, levels))
        main = _main_thing(reading, levels, claims)
        words = _in_words(reading, main, measured)
        kind = self._rubric.kind_of(answer.question)
        judged = self._judgement(self._rubric.scores(levels, kind), claims, words, measured)
        star = {part: found[0].text if found else None for part, found in reading.parts.items()}
        return replace(judged, main_improvement=main, star=star if kind == "behavioural" else {})

    def _judgement(
        self, scores: Scores, claims: Sequence[Claim], words: str, measured: dict[str, object]
    ) -> Judgement:
        return Judgement(
            overall_score=scores.overall,
            communication_score=scores.communication,
            technical_score=scores.technical,
            clarity_score=scores.clarity,
            claims=tuple(claims),
            detailed_feedback=words,
            provider=PROVIDER,
            model=MODEL,
            rubric_version=self._rubric.version,
            delivery=measured,
        )


def _read(answer: Answer) -> _Reading:
    """Leave out what is said to the judge and what was said before; find the parts."""
    seen: set[tuple[str, ...]] = set()
    counted: list[Sentence] = []
    for sentence in sentences_of(answer.text):
        plain = " ".join(sentence.tokens)
        if sentence.tokens in seen or _TO_THE_JUDGE.search(plain):
            continue
        seen.add(sentence.tokens)
        counted.append(sentence)
    parts: dict[str, list[Sentence]] = {part: [] for part in _PARTS}
    for sentence in counted:
        plain = " ".join(sentence.tokens)
        if _BOAST.search(plain):
            continue
        for part, cue in _CUES.items():
            if cue.search(plain):
                parts[part].append(sentence)
    # A result comes after what was done.
    if parts["action"]:
        first = parts["action"][0].begin
        parts["result"] = [one for one in parts["result"] if one.begin > first]
    story = [s for s in counted if any(s in found for found in parts.values())]
    figures = sum(len(_NUMBER.findall(" ".join(sentence.tokens))) for sentence in story)
    measured = [s for s in parts["result"] if _MEASURED.search(" ".join(s.tokens))]
    return _Reading(counted, parts, measured, figures)


def _why_not(answer: Answer, reading: _Reading) -> tuple[str | None, str | None]:
    """Return why the answer cannot be judged, with the words that show it."""
    words = tokens_of(answer.text)
    if answer.language not in (None, "en"):
        return ("The answer is not in English, the only language this coach can judge.", None)
    if answer.is_unclear:
        return (UNCLEAR, None)
    if _NO_ANSWER.match(" ".join(words)) or not words:
        return ("There is no answer to judge here. Try again with a story of your own.", None)
    if len(words) < _MIN_WORDS:
        return (
            f"{len(words)} words are too few to judge. Take a minute or two for an answer.",
            None,
        )
    question = set(tokens_of(answer.question or ""))
    content = {token for token in words if token not in _STOP}
    if question and len(content - question) < 5:
        return ("This is the question read back, not an answer to it.", None)
    if not reading.sentences:
        return ("There is no answer to judge here. Try again with a story of your own.", None)
    is_mine = [s for s in reading.sentences if _FIRST_PERSON.search(" ".join(s.tokens))]
    if answer.question and _BEHAVIOURAL.search(answer.question.lower()):
        has_story = any(reading.parts[part] for part in ("situation", "task", "action"))
        if not is_mine or (len(is_mine) * 4 < len(reading.sentences) and not has_story):
            return (
                "This does not answer the question: it asks for something you yourself lived"
                " through, and nothing here is told as your own experience.",
                reading.sentences[0].text,
            )
        is_told = reading.parts["situation"] or reading.parts["action"]
        if not is_told and _about(answer, reading) == 0:
            return (
                "This speaks of something else: nothing in it has to do with the question, and no"
                " story of your own is told.",
                reading.sentences[0].text,
            )
    return (None, None)


def _about(answer: Answer, reading: _Reading) -> float:
    """Return the share of the question's words that the answer takes up, they or their kin."""
    asked = {_stem(token) for token in tokens_of(answer.question or "") if token not in _STOP}
    said = {_stem(token) for sentence in reading.sentences for token in sentence.tokens}
    return len(asked & _with_kin(said)) / len(asked) if asked else 0.5


def _relevance(answer: Answer, reading: _Reading) -> int:
    about = _about(answer, reading)
    has_case = bool(reading.parts["action"]) and bool(
        reading.parts["situation"] or reading.parts["task"]
    )
    if not has_case:
        return 3 if about >= 0.3 and reading.parts["action"] else 2 if about >= 0.3 else 1
    return 5 if about >= 0.5 else 4 if about > 0 else 3


def _structure(reading: _Reading) -> int:
    return min(5, 1 + sum(bool(found) for found in reading.parts.values()))


def _specificity(reading: _Reading) -> int:
    steps = len(reading.parts["action"])
    level = 1 + (steps >= 1) + (steps >= 3) + (reading.figures >= 1) + bool(reading.measured)
    return min(5, level)


def _clarity(reading: _Reading) -> int:
    """Sentence length: 15 to 20 words on average is easy to follow (Plain English Campaign)."""
    lengths = [len(sentence.tokens) for sentence in reading.sentences]
    mean = sum(lengths) / len(lengths)
    over = sum(length > 35 for length in lengths) / len(lengths)
    broken = sum(length < 4 for length in lengths) / len(lengths)
    return max(1, 5 - (mean > 20) - (mean > 27) - (over > 0.2) - (broken > 0.3))


def _delivery(measured: dict[str, object]) -> int | None:
    if "status" in measured:
        return None
    outside = sum(
        isinstance(one, dict) and one["verdict"] in ("below", "above") for one in measured.values()
    )
    return max(1, 5 - outside)


def _strengths(answer: Answer, reading: _Reading) -> list[Claim]:
    found: list[Claim] = []
    if reading.measured:
        text = "You name a result that can be measured."
        found.append(claim(answer, "strength", "specificity", text, reading.measured[0].text))
    elif reading.parts["result"]:
        text = "You say what came of it."
        found.append(claim(answer, "strength", "structure", text, reading.parts["result"][0].text))
    if len(reading.parts["action"]) >= 2:
        text = "You say what you did, step by step."
        found.append(claim(answer, "strength", "structure", text, reading.parts["action"][0].text))
    if reading.parts["situation"] and reading.parts["situation"][0] is reading.sentences[0]:
        text = "You set the scene right away."
        found.append(claim(answer, "strength", "structure", text, reading.sentences[0].text))
    return found


def _improvements(answer: Answer, reading: _Reading, levels: dict[str, int | None]) -> list[Claim]:
    found: list[Claim] = []
    for part in ("result", "action", "task", "situation"):
        if not reading.parts[part]:
            where = reading.sentences[-1 if part == "result" else 0]
            found.append(claim(answer, "improvement", "structure", _MISSING[part], where.text))
    if not reading.measured and reading.parts["result"]:
        text = "Put a figure to this result: how much, how many, how long?"
        found.append(
            claim(answer, "improvement", "specificity", text, reading.parts["result"][0].text)
        )
    longest = max(reading.sentences, key=lambda sentence: len(sentence.tokens))
    if len(longest.tokens) > 35:
        text = f"This sentence has {len(longest.tokens)} words. Make it two or three."
        found.append(claim(answer, "improvement", "clarity", text, longest.text))
    boast = next((s for s in reading.sentences if _BOAST.search(" ".join(s.tokens))), None)
    if boast is not None:
        text = "Let the facts say this for you: it claims without showing."
        found.append(claim(answer, "improvement", "specificity", text, boast.text))
    filler = _filler_sentence(reading)
    if filler is not None:
        text = "Drop the filler here; a short pause says the same."
        found.append(claim(answer, "improvement", "delivery", text, filler.text))
    return found[:4]


def _filler_sentence(reading: _Reading) -> Sentence | None:
    counted = [(delivery.count_fillers(s.tokens), s) for s in reading.sentences]
    count, worst = max(counted, key=lambda pair: pair[0])
    total = sum(number for number, _ in counted)
    return worst if count and total >= 2 else None


def _in_words(reading: _Reading, main: MainImprovement | None, measured: dict[str, object]) -> str:
    """Return the feedback as a coach would say it: what stands, one thing to work on, a drill."""
    there = [part for part in _PARTS if reading.parts[part]]
    missing = [part for part in _PARTS if not reading.parts[part]]
    said = [f"I found {_listed(there)} in your answer." if there else "I found no story here."]
    if missing:
        said.append(f"What is missing: {_listed(missing)}.")
    if main is None:
        said.append("Nothing stands out to change; say it again tomorrow without notes.")
    else:
        said.append(f"The one thing to work on: {main.text} Drill: {main.drill}")
    outside = [
        f"{name.replace('_', ' ')} {one['value']} {one['unit']} ({one['verdict']} the usual range)"
        for name, one in measured.items()
        if isinstance(one, dict) and one["verdict"] in ("below", "above")
    ]
    if outside:
        said.append(f"How you spoke: {'; '.join(outside)}.")
    said.append(
        "Not judged: whether what you say about the subject is right. This coach cannot know that."
    )
    return " ".join(said)


def _main_thing(
    reading: _Reading, levels: dict[str, int | None], claims: Sequence[Claim]
) -> MainImprovement | None:
    """Return a missing part, else the weakest dimension, else what the first remark is about."""
    improvements = [one for one in claims if one.kind == "improvement"]
    missing = (p for p in ("result", "action", "task", "situation") if not reading.parts[p])
    weakest = min(("specificity", "clarity", "relevance"), key=lambda name: levels[name] or 9)
    main = next(missing, None)
    if main is None and (levels[weakest] or 9) < 4:
        main = weakest
    if main is None and improvements:
        main = improvements[0].dimension
    if main is None:
        return None
    where = "structure" if main in _PARTS else main
    remark = next((one for one in improvements if one.dimension == where), None)
    if remark is None:
        longest = max(reading.sentences, key=lambda sentence: len(sentence.tokens))
        return MainImprovement(_FOCUS[where], longest.text, _DRILL[main])
    return MainImprovement(remark.text, remark.quote, _DRILL[main])


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the {names[0]}"
    return "the " + ", the ".join(names[:-1]) + f" and the {names[-1]}"


_KIN = (
    {
        "problem",
        "issue",
        "bug",
        "failure",
        "fail",
        "outage",
        "crash",
        "error",
        "broken",
        "incident",
    },
    {"hard", "difficult", "tough", "challenge", "challeng", "tricky", "complex"},
    {"solve", "solv", "fix", "resolve", "resolv", "debug", "repair", "figure"},
    {"conflict", "disagree", "disagreement", "argument", "argue", "tension"},
    {"lead", "led", "leader", "leadership", "manage", "manag", "coach", "mentor"},
    {"team", "colleague", "coworker", "group", "engineer"},
    {"mistake", "fail", "failure", "wrong", "error"},
    {"deadline", "pressure", "late", "urgent", "hurry"},
    {"customer", "client", "user"},
    {"learn", "teach", "taught", "study"},
)


def _with_kin(stems: set[str]) -> set[str]:
    """Return the stems with the words that mean much the same."""
    return stems.union(*(kin for kin in _KIN if kin & stems)) if stems else stems


def _stem(token: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if token.endswith(ending) and len(token) - len(ending) >= 3:
            return token[: -len(ending)]
    return token
