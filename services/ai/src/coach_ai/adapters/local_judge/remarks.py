"""The remarks: what stands, what to work on, each with the words it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coach_ai import delivery
from coach_ai.adapters.local_judge.levels import Levels
from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.adapters.local_judge.reasons import Reasons
from coach_ai.adapters.local_judge.star import PARTS, Story
from coach_ai.adapters.local_judge.words import VAGUE
from coach_ai.delivery.metric import DISCOURSE_FILLERS
from coach_ai.domain import Answer, Claim, MainImprovement
from coach_ai.evidence import Sentence, claim

_MISSING = {
    "situation": "Open with one sentence on where and when this was, so that one sees the scene.",
    "task": "Say what was yours to do: what was asked of you, or what you took on.",
    "action": "Say what you did, step by step, with “I” and a verb for each step.",
    "result": "Say what came of it, best with a figure: your answer stops before the result.",
}
_NO_CASE = "This is what you think of it. Tell one time that it happened: where, and what you did."
_DRILL = {
    "case": "Begin aloud with “Last year, …” and do not say “always” or “usually” once.",
    "situation": "Say the scene in one breath: where, when, who, and what was going wrong.",
    "task": "Finish this sentence aloud three times, each time shorter: “My job was to …”.",
    "action": "List your steps on paper as “I” and a verb, then tell them without the paper.",
    "result": "Tell the story from its last sentence backwards: begin with “In the end, …”.",
    "specificity": "Find three figures (how many, how long, how much) and tell it again.",
    "reasoning": "Say each claim again and go on with “because”, then with “but then”.",
    "clarity": "Record it again with a full stop after every idea; no sentence over twenty words.",
    "delivery": "Tell it to a recorder once more, and close your mouth after each sentence.",
    "structure": "Tell it in four sentences, one each for scene, task, action and result.",
    "relevance": "Before you speak, repeat the question in your own words, then answer just that.",
}
_FOCUS = {
    "structure": "Give it its parts, in order.",
    "specificity": "Put in names, steps and figures that somebody could check.",
    "reasoning": "Say why: the reason, the other way it could be done, and what each costs.",
    "clarity": "Say it in shorter sentences.",
    "relevance": "I hear little of what was asked: say in one sentence how this answers it.",
    "delivery": "Let pauses do the work of fillers.",
}
_LONG = 35
"""Words of a sentence, from which on it is told to be two."""
_WEAK = 3.0
"""The level below which a dimension is worth a remark of its own."""
_FAR = 2.0
"""The same for relevance, which words tell badly: a good answer may share few with its question."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was found in an answer."""

    answer: Answer
    kind: str
    reading: Reading
    story: Story
    reasons: Reasons
    levels: Levels

    @property
    def sentences(self) -> list[Sentence]:
        """The sentences that count."""
        return [one.sentence for one in self.reading.said]

    @property
    def lacks_case(self) -> bool:
        """Whether a story was asked for, and nothing is told that happened."""
        parts = self.story.parts
        return self.kind == "behavioural" and not (parts["situation"] or parts["action"])

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts that a story lacks, what matters most first."""
        if self.kind != "behavioural" or self.lacks_case:
            return ()
        return tuple(
            part for part in ("action", "result", "task", "situation") if not self.story.parts[part]
        )

    @property
    def weighed(self) -> tuple[str, ...]:
        """The dimensions besides structure that this kind of question is about."""
        if self.kind == "behavioural" or (self.kind == "general" and self.reasons.causes):
            return ("specificity", "clarity")
        return ("specificity", "reasoning", "clarity")


def strengths(seen: Seen) -> list[Claim]:
    """Return what stands."""
    story, found = seen.story, []

    def add(dimension: str, text: str, where: Sentence) -> None:
        found.append(claim(seen.answer, "strength", dimension, text, where.text))

    if story.measured and seen.kind != "technical":
        add("specificity", "You name a result that can be measured.", story.measured[-1])
    elif story.parts["result"] and seen.kind == "behavioural":
        add("structure", "You say what came of it.", story.parts["result"][0])
    if story.steps >= 2 and story.parts["action"]:
        add("structure", "You say what you did, step by step.", story.parts["action"][0])
    if seen.kind == "behavioural":
        scene = story.parts["situation"]
        if scene and scene[0] is seen.sentences[0]:
            add("structure", "You set the scene right away.", scene[0])
    elif seen.reasons.why is not None:
        add("reasoning", "You say why.", seen.reasons.why)
    if seen.kind == "technical" and seen.reasons.cost is not None:
        add("reasoning", "You say what it costs, or what goes wrong.", seen.reasons.cost)
    return found


def improvements(seen: Seen) -> list[Claim]:
    """Return what to work on, what matters most first; four at most."""
    found: list[Claim] = []

    def add(dimension: str, text: str, where: Sentence) -> None:
        found.append(claim(seen.answer, "improvement", dimension, text, where.text))

    if seen.kind == "behavioural":
        if seen.lacks_case:
            add("structure", _NO_CASE, seen.sentences[0])
        for part in seen.missing:
            add("structure", _MISSING[part], seen.sentences[-1 if part == "result" else 0])
        results = seen.story.parts["result"]
        if results and not seen.story.measured:
            text = "Put a figure to this result: how much, how many, how long?"
            add("specificity", text, results[-1])
    elif "reasoning" in seen.weighed and (seen.levels["reasoning"] or 5) < _WEAK:
        add("reasoning", _FOCUS["reasoning"], seen.sentences[0])
    vague = max(seen.sentences, key=_vagueness)
    if (seen.levels["specificity"] or 5) < _WEAK and _vagueness(vague):
        text = "This could be said by anybody. Say who, what and how much."
        add("specificity", text, vague)
    longest = max(seen.sentences, key=lambda sentence: len(sentence.tokens))
    if len(longest.tokens) > _LONG:
        text = f"This sentence has {len(longest.tokens)} words. Make it two or three."
        add("clarity", text, longest)
    if seen.reading.boast is not None:
        text = "Let the facts say this for you: it claims without showing."
        add("specificity", text, seen.reading.boast)
    if (seen.levels["relevance"] or 5) < _FAR:
        add("relevance", _FOCUS["relevance"], seen.sentences[0])
    filler = _filler_sentence(seen.sentences)
    if filler is not None:
        add("delivery", "Drop the filler here; a short pause says the same.", filler)
    return found[:4]


def main_thing(seen: Seen, claims: Sequence[Claim]) -> MainImprovement | None:
    """Return a missing part, else the weakest dimension, else what the first remark is about."""
    remarks = [one for one in claims if one.kind == "improvement"]
    main = "case" if seen.lacks_case else next(iter(seen.missing), None)
    weakest = min(seen.weighed, key=lambda name: seen.levels[name] or 9)
    if main is None and (seen.levels[weakest] or 9) < _WEAK:
        main = weakest
    if main is None and remarks:
        main = remarks[0].dimension
    if main is None:
        return None
    where = "structure" if main in ("case", *PARTS) else main
    remark = next((one for one in remarks if one.dimension == where), None)
    if remark is None:
        longest = max(seen.sentences, key=lambda sentence: len(sentence.tokens))
        return MainImprovement(_FOCUS[where], longest.text, _DRILL[main])
    return MainImprovement(remark.text, remark.quote, _DRILL[main])


def in_words(seen: Seen, main: MainImprovement | None, measured: Mapping[str, Any]) -> str:
    """Return the feedback as a coach would say it: what stands, one thing to work on, a drill."""
    said = _what_stands(seen)
    if main is None:
        said.append("Nothing stands out to change; say it again tomorrow without notes.")
    else:
        said.append(f"The one thing to work on: {main.text} Drill: {main.drill}")
    if (seen.levels["relevance"] or 5) < _FAR and (
        main is None or main.text != _FOCUS["relevance"]
    ):
        said.append(_FOCUS["relevance"])
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


def _what_stands(seen: Seen) -> list[str]:
    if seen.kind != "behavioural":
        given = seen.reasons.in_words()
        return [f"I found {given} in your answer." if given else "I found claims, but no reasons."]
    there = [part for part in PARTS if seen.story.parts[part]]
    missing = [part for part in PARTS if part in seen.missing]
    said = [f"I found {_listed(there)} in your answer." if there else "I found no story here."]
    if missing:
        said.append(f"What is missing: {_listed(missing)}.")
    return said


def _vagueness(sentence: Sentence) -> float:
    return len(VAGUE.findall(" ".join(sentence.tokens))) / len(sentence.tokens)


def _filler_sentence(sentences: Sequence[Sentence]) -> Sentence | None:
    """Return the sentence with most fillers, where there are more of them than is usual."""
    counted = [(delivery.count_fillers(s.tokens), s) for s in sentences]
    _, worst = max(counted, key=lambda pair: pair[0])
    fillers = sum(number for number, _ in counted)
    share = 100 * fillers / max(1, sum(len(one.tokens) for one in sentences))
    return worst if DISCOURSE_FILLERS.of(share, fillers)["verdict"] == "above" else None


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the {names[0]}"
    return "the " + ", the ".join(names[:-1]) + f" and the {names[-1]}"
