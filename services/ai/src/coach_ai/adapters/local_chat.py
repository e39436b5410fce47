"""The coach's turn without a model: from the handbook, from the person's own sessions, from what
was said before. What it does not know, it says.
"""

import re
from collections.abc import Iterator

from coach_ai.adapters import handbook
from coach_ai.adapters.embeddings import Embeddings
from coach_ai.adapters.handbook import Entry
from coach_ai.domain import PastSession, Talk, title_of


def _pattern(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


_GREETING = _pattern(r"\W*(hi|hello|hey|good (morning|evening|afternoon))\b[^?]{0,25}")
_THANKS = _pattern(
    r"\W*(many thanks|thanks|thank you|thx|cheers|great|perfect|ok(ay)?)\b[^?]{0,30}"
)
_OTHER_WORK = _pattern(
    r"^\W*(please |can you |could you |would you )*"
    r"(translate|compose|sing|draw|convert|act as|repeat|reveal|speak like|do my|cook|book me"
    r"|(pretend|imagine) (you|to be)|(show|give|list) me all)\b",
    r"\b(write|fix|code|solve|debug)\b.{0,40}\b(function|query|poem|essay|song|story|script|rap"
    r"|program|equation|bug|haiku|javascript|python|sql|homework)\b",
    r"\b(ignore|forget|disregard) (all|any|every|everything|your|the|previous|what)\b",
    r"\b(system prompt|your (\w+ )?(rules|instructions|prompt|orders|training)|you are now)\b",
    r"\b(from now on|no restrictions|no rules|jailbreak|developer mode|base64|above this line)\b",
)
_OTHER_PEOPLE = _pattern(
    r"\b(other|all|every) (users?|people'?s|persons?|accounts?|candidates' )\b.*",
    r"\bdatabase\b",
    r"\b(?!(?:my|what|that|it|how|who|when|today|there|let|one)\b)[a-z]+'s"
    r" (last |past )?(score|session|feedback)s?\b",
    r"\b(score|session|feedback)s? (of|for|from) (?!my|me|this|today)[a-z]+\b",
    r"\bdid (?!i\b)\w+ score\b",
)
_OWN = _pattern(
    r"\bmy (last|past|previous|latest|recent) \w*\s*(sessions?|scores?|feedback|results?"
    r"|answers?|recordings?|attempts?|interviews?)\b",
    r"\bmy (own )?(sessions?|scores?|feedback|progress|weak (points?|spots?|areas?))\b",
    r"\bhow (am|did) i do(ing)?\b",
    r"\bam i (improving|getting better)\b",
    r"\bwhat should i (work on|practi[sc]e|improve)\b",
)
_RECAP = _pattern(
    r"\bwhat (have|did) we (talk|discuss|cover|sp[eo]ak)", r"\bsum.{0,8} up\b", r"\brecap"
)
_EXAMPLE = _pattern(r"\b(example|instance|sample|show me|sounds? like|how would (that|it) sound)\b")
_DRILL = _pattern(r"\b(practi[sc]e|exercises?|drills?|train|rehearse|try (that|it|this)( out)?)\b")
_MORE = _pattern(
    r"^\W*((tell|give|say|me|any|some|what|and|is|there|anything|something)\s+)*"
    r"(more|else|go on|continue|elaborate|another)\b"
)
_FOLLOWS_UP = _pattern(
    r"\b(that|this|it|those|these|them)\b", r"^\W*(and|but|so|also|then|what if|what about|why)\b"
)


def reply(talk: Talk, embeddings: Embeddings | None = None) -> list[str]:
    """Return the coach's turn, word by word; without embeddings it is found by words alone."""
    return re.findall(r"\S+\s*", " ".join(_said(talk, embeddings)))


def _said(talk: Talk, embeddings: Embeddings | None) -> Iterator[str]:
    asked = talk.asked
    topics = _topics(talk)
    if _OTHER_WORK.search(asked) or _OTHER_PEOPLE.search(asked):
        yield _declined(topics)
    elif _GREETING.fullmatch(asked):
        yield from _greeted(talk.past)
    elif _RECAP.search(asked) and topics:
        yield from _recalled(talk, topics)
    elif _OWN.search(asked):
        yield from _of_the_person(talk.past)
    elif topics and _THANKS.fullmatch(asked):
        yield f"Good luck with it. Ask for an exercise on “{topics[-1].title}” when you have time."
    elif topics and (words := list(_next_step(asked, topics))):
        yield from words
    else:
        yield from _from_the_handbook(talk, topics, embeddings)


def _from_the_handbook(
    talk: Talk, topics: list[Entry], embeddings: Embeddings | None
) -> Iterator[str]:
    asked = talk.asked
    is_ours = not handbook.is_of_another_subject(asked)
    follows_up = bool(topics and is_ours and _FOLLOWS_UP.search(asked))
    nearest = handbook.search(asked, embeddings)
    found = nearest[0]
    if not found.is_enough and follows_up:
        # Together with the question before it, a follow-up may be about a neighbouring thing.
        for one in handbook.search(f"{_asked_before(talk)} {asked}"):
            if one.is_enough and handbook.shares_a_word(asked, one.entry):
                found = one
                break
    if found.is_enough:
        yield from _told(found.entry, talk.past, is_again=found.entry in topics)
    elif follows_up or (is_ours and handbook.is_of_the_trade(asked)):
        yield f"I do not have a good answer to “{title_of(asked)}”."
        near = [one.entry for one in nearest[:3] if one.is_near]
        if near:
            yield f"The nearest that I know about: {_listed(near)}."
        yield "Put it in other words, or tell me which part of the interview it is about."
    else:
        yield _declined(topics)


def _told(entry: Entry, past: tuple[PastSession, ...], *, is_again: bool) -> Iterator[str]:
    if is_again:
        yield f"{entry.title}, from another side. {entry.example} To practise: {entry.drill}"
        return
    yield f"{entry.title}: {entry.advice}"
    remark = _own_remark(entry, past)
    if remark:
        yield remark
    yield "I can give you an example of it, or an exercise."


def _next_step(asked: str, topics: list[Entry]) -> Iterator[str]:
    """Yield more of the last topic, where the person asked for no more than that."""
    bare = asked
    for step in (_EXAMPLE, _DRILL, _MORE):
        bare = step.sub("", bare)
    last = topics[-1]
    if any(stem not in last.weights for stem in handbook.stems_of(bare)):
        return
    if _EXAMPLE.search(asked):
        yield f"{last.title}, an example: {last.example}"
    elif _DRILL.search(asked):
        yield f"{last.title}, an exercise: {last.drill} Record it here, and I can judge it."
    elif _MORE.search(asked):
        about = handbook.search(f"{last.title} {last.advice}")
        near = [one.entry for one in about if one.entry not in topics][:2]
        yield f"{last.title}, some more: {last.example} To practise: {last.drill}"
        yield f"Near to it: {_listed(near)}."


def _topics(talk: Talk) -> list[Entry]:
    """Return what the coach spoke of in this conversation, the latest last."""
    told = [line.removeprefix("Told: ") for line in talk.summary.splitlines()]
    told += [message.text for message in talk.messages if message.role == "assistant"]
    found: dict[str, Entry] = {}
    for text in told:
        for entry in handbook.entries():
            if text.startswith((f"{entry.title}:", f"{entry.title},")):
                found.pop(entry.name, None)
                found[entry.name] = entry
    return list(found.values())


def _asked_before(talk: Talk) -> str:
    asked = [message.text for message in talk.messages[:-1] if message.role == "user"]
    return asked[-1] if asked else ""


def _greeted(past: tuple[PastSession, ...]) -> Iterator[str]:
    yield "Hello!"
    if not past:
        yield "Which interview is coming up, and what about it worries you most?"
        return
    yield f"In your last session, “{past[0].title}”, {_scored(past[0])}."
    for remark in past[0].improvements[:1]:
        yield f"The thing to work on was: {remark} Shall we begin there?"


def _recalled(talk: Talk, topics: list[Entry]) -> Iterator[str]:
    yield f"We have spoken of {_listed(topics)}."
    older = [line for line in talk.summary.splitlines() if line.startswith("Asked: ")]
    first = older[0].removeprefix("Asked: ") if older else title_of(talk.messages[0].text)
    yield f"It began with “{first}”."


def _of_the_person(past: tuple[PastSession, ...]) -> Iterator[str]:
    if not past:
        yield "You have no judged session yet. Record an answer, and I can tell you about it."
        return
    last, *earlier = past
    yield f"In your last session, “{last.title}”, {_scored(last)}."
    before = [str(one.overall_score) for one in earlier if one.overall_score is not None]
    if before:
        yield f"Before that, the latest first: {', '.join(before)}."
    if not last.improvements:
        yield "Nothing stood out to change."
        return
    yield f"To work on: {' '.join(last.improvements[:2])}"
    again = [
        one for one in last.improvements if any(one in older.improvements for older in earlier)
    ]
    if again:
        yield f"This came up before as well: {again[0]}"
    found = handbook.search(last.improvements[0])[0]
    if found.is_enough:
        yield f"An exercise for it: {found.entry.drill}"


def _scored(session: PastSession) -> str:
    if session.overall_score is None:
        return "you got no score"
    return f"you scored {session.overall_score}"


def _own_remark(entry: Entry, past: tuple[PastSession, ...]) -> str:
    for session in past:
        for remark in session.improvements:
            found = handbook.search(remark)[0]
            if found.is_enough and found.entry is entry:
                which = "your last session" if session is past[0] else "an earlier session"
                return f"In {which}, “{session.title}”, this came up: {remark}"
    return ""


def _declined(topics: list[Entry]) -> str:
    keep = "I am an interview coach and keep to that."
    if topics:
        return f"{keep} Shall we go on with “{topics[-1].title}”?"
    return f"{keep} What question would you like to be ready for?"


def _listed(entries: list[Entry]) -> str:
    return ", ".join(f"“{entry.title}”" for entry in entries)
