"""The remarks of the local scorer: strengths, improvements and the summary, each with a quote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coach_ai import delivery
from coach_ai.delivery.metric_spec import DISCOURSE_FILLERS
from coach_ai.domain import Answer, MainImprovement, Remark
from coach_ai.scoring.local.levels import Levels
from coach_ai.scoring.local.parsed_answer import ParsedAnswer
from coach_ai.scoring.local.reasons import Reasons
from coach_ai.scoring.local.story_parts import PARTS, Story
from coach_ai.scoring.local.word_classes import VAGUE_TERMS
from coach_ai.scoring.quotes import make_remark
from coach_ai.text import Sentence

_MISSING = {
    "situation": "Open with one sentence on where and when this was, to set the scene.",
    "task": "Say what your task was: what you were asked to do, or what you took on.",
    "action": "Say what you did, step by step, with “I” and a verb for each step.",
    "result": "State the result, ideally with a number. Your answer stops before the result.",
}
_NO_EXAMPLE = "This is your opinion. Describe one time when it happened: where, and what you did."
_DRILL = {
    "case": "Start aloud with “Last year, …” and avoid the words “always” and “usually”.",
    "situation": "Describe the scene in one breath: where, when, who, and what was going wrong.",
    "task": "Finish this sentence aloud three times, each time shorter: “My job was to …”.",
    "action": "List your steps on paper as “I” and a verb, then tell them without the paper.",
    "result": "Tell the story from its last sentence backwards: begin with “In the end, …”.",
    "specificity": "Find three numbers (how many, how long, how much) and tell it again.",
    "reasoning": "Repeat each claim and continue with “because”, then with “but then”.",
    "clarity": "Record it again with a full stop after every idea; no sentence over twenty words.",
    "delivery": "Tell it to a recorder once more, and close your mouth after each sentence.",
    "structure": "Tell it in four sentences, one each for scene, task, action and result.",
    "relevance": "Before you speak, repeat the question in your own words, then answer just that.",
}
_FOCUS = {
    "structure": "Tell its parts in order.",
    "specificity": "Add names, steps and numbers that can be checked.",
    "reasoning": "Explain why: the reason, the alternative, and what each costs.",
    "clarity": "Say it in shorter sentences.",
    "relevance": "Your answer hardly touches the question. Say in one sentence how it relates.",
    "delivery": "Use pauses instead of filler words.",
}
_MAX_SENTENCE_WORDS = 35
"""Longer sentences get a remark."""
_MAX_IMPROVEMENTS = 4
_REMARK_BELOW = 3.0
"""A dimension below this level gets a remark."""
_RELEVANCE_REMARK_BELOW = 2.0
"""The same for relevance. Lower, because a good answer may share few words with its question."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that was found in an answer."""

    answer: Answer
    question_type: str
    parsed: ParsedAnswer
    story: Story
    reasons: Reasons
    levels: Levels

    @property
    def sentences(self) -> list[Sentence]:
        """The scored sentences."""
        return [one.sentence for one in self.parsed.sentences]

    @property
    def has_no_example(self) -> bool:
        """True if the question asks for a story and the answer describes no event."""
        parts = self.story.parts
        return self.question_type == "behavioural" and not (parts["situation"] or parts["action"])

    @property
    def missing_parts(self) -> tuple[str, ...]:
        """The missing parts of a story, most important first."""
        if self.question_type != "behavioural" or self.has_no_example:
            return ()
        return tuple(
            part for part in ("action", "result", "task", "situation") if not self.story.parts[part]
        )

    @property
    def scored_dimensions(self) -> tuple[str, ...]:
        """The dimensions besides structure that matter for this type of question."""
        if self.question_type == "behavioural" or (
            self.question_type == "general" and self.reasons.causes
        ):
            return ("specificity", "clarity")
        return ("specificity", "reasoning", "clarity")

    def is_weak(self, dimension: str) -> bool:
        """True if a dimension has a level that is low enough for a remark."""
        limit = _RELEVANCE_REMARK_BELOW if dimension == "relevance" else _REMARK_BELOW
        return (self.levels[dimension] or 5) < limit


def strengths(analysis: Analysis) -> list[Remark]:
    """Return the strengths."""
    story, remarks = analysis.story, list[Remark]()

    def add(dimension: str, text: str, sentence: Sentence) -> None:
        remarks.append(make_remark(analysis.answer, "strength", dimension, text, sentence.text))

    if story.measured_results and analysis.question_type != "technical":
        add("specificity", "You give a measurable result.", story.measured_results[-1])
    elif story.parts["result"] and analysis.question_type == "behavioural":
        add("structure", "You state the result.", story.parts["result"][0])
    if story.steps >= 2 and story.parts["action"]:
        add("structure", "You describe what you did, step by step.", story.parts["action"][0])
    if analysis.question_type == "behavioural":
        situation = story.parts["situation"]
        if situation and situation[0] is analysis.sentences[0]:
            add("structure", "You set the scene right away.", situation[0])
    elif analysis.reasons.first_cause is not None:
        add("reasoning", "You give reasons.", analysis.reasons.first_cause)
    if analysis.question_type == "technical" and analysis.reasons.first_cost is not None:
        add("reasoning", "You mention costs or risks.", analysis.reasons.first_cost)
    return remarks


def improvements(analysis: Analysis) -> list[Remark]:
    """Return the improvements, most important first, at most four."""
    remarks: list[Remark] = []
    sentences = analysis.sentences

    def add(dimension: str, text: str, sentence: Sentence) -> None:
        remarks.append(make_remark(analysis.answer, "improvement", dimension, text, sentence.text))

    if analysis.question_type == "behavioural":
        if analysis.has_no_example:
            add("structure", _NO_EXAMPLE, sentences[0])
        for part in analysis.missing_parts:
            add("structure", _MISSING[part], sentences[-1 if part == "result" else 0])
        results = analysis.story.parts["result"]
        if results and not analysis.story.measured_results:
            text = "Add a number to this result: how much, how many, how long?"
            add("specificity", text, results[-1])
    elif "reasoning" in analysis.scored_dimensions and analysis.is_weak("reasoning"):
        add("reasoning", _FOCUS["reasoning"], sentences[0])
    vaguest = max(sentences, key=_vagueness)
    if analysis.is_weak("specificity") and _vagueness(vaguest):
        add("specificity", "This is too general. Say who, what and how much.", vaguest)
    longest = max(sentences, key=lambda sentence: len(sentence.tokens))
    if len(longest.tokens) > _MAX_SENTENCE_WORDS:
        text = f"This sentence has {len(longest.tokens)} words. Split it into two or three."
        add("clarity", text, longest)
    if analysis.parsed.self_praise is not None:
        text = "This is a claim without evidence. Let facts show it instead."
        add("specificity", text, analysis.parsed.self_praise)
    if analysis.is_weak("relevance"):
        add("relevance", _FOCUS["relevance"], sentences[0])
    filler = _find_filler_sentence(sentences)
    if filler is not None:
        add("delivery", "Drop the filler words here. A short pause works better.", filler)
    return remarks[:_MAX_IMPROVEMENTS]


def main_improvement(analysis: Analysis, remarks: Sequence[Remark]) -> MainImprovement | None:
    """Return the main improvement: a missing part, else the weakest dimension, else the first
    remark's dimension. None if no improvement is known.
    """
    suggestions = [one for one in remarks if one.kind == "improvement"]
    topic = "case" if analysis.has_no_example else next(iter(analysis.missing_parts), None)
    weakest = min(analysis.scored_dimensions, key=lambda name: analysis.levels[name] or 9)
    if topic is None and (analysis.levels[weakest] or 9) < _REMARK_BELOW:
        topic = weakest
    if topic is None and suggestions:
        topic = suggestions[0].dimension
    if topic is None:
        return None
    dimension = "structure" if topic in ("case", *PARTS) else topic
    remark = next((one for one in suggestions if one.dimension == dimension), None)
    if remark is None:
        longest = max(analysis.sentences, key=lambda sentence: len(sentence.tokens))
        return MainImprovement(_FOCUS[dimension], longest.text, _DRILL[topic])
    return MainImprovement(remark.text, remark.quote, _DRILL[topic])


def render_summary(
    analysis: Analysis, main: MainImprovement | None, metrics: Mapping[str, Any]
) -> str:
    """Return the detailed feedback: what was found, the main improvement, and its exercise."""
    sentences = _describe_findings(analysis)
    if main is None:
        sentences.append("Nothing stands out to change. Practise it again tomorrow without notes.")
    else:
        sentences.append(f"The one thing to work on: {main.text} Drill: {main.drill}")
    if analysis.is_weak("relevance") and (main is None or main.text != _FOCUS["relevance"]):
        sentences.append(_FOCUS["relevance"])
    outside = [
        f"{name.replace('_', ' ')} {metric['value']} {metric['unit']}"
        f" ({metric['verdict']} the usual range)"
        for name, metric in metrics.items()
        if isinstance(metric, dict) and metric["verdict"] in ("below", "above")
    ]
    if outside:
        sentences.append(f"Delivery: {'; '.join(outside)}.")
    sentences.append(
        "Not scored: whether what you say about the subject is right. This scorer cannot check"
        " that."
    )
    return " ".join(sentences)


def _describe_findings(analysis: Analysis) -> list[str]:
    if analysis.question_type != "behavioural":
        described = analysis.reasons.describe()
        return [
            f"I found {described} in your answer."
            if described
            else "I found claims, but no reasons."
        ]
    present = [part for part in PARTS if analysis.story.parts[part]]
    missing = [part for part in PARTS if part in analysis.missing_parts]
    sentences = [
        f"I found {_join_names(present)} in your answer."
        if present
        else "I could not find a concrete example."
    ]
    if missing:
        sentences.append(f"What is missing: {_join_names(missing)}.")
    return sentences


def _vagueness(sentence: Sentence) -> float:
    return len(VAGUE_TERMS.findall(" ".join(sentence.tokens))) / len(sentence.tokens)


def _find_filler_sentence(sentences: Sequence[Sentence]) -> Sentence | None:
    """Return the sentence with the most fillers, if the answer has more than the usual share."""
    counted = [(delivery.count_fillers(s.tokens), s) for s in sentences]
    _, worst = max(counted, key=lambda pair: pair[0])
    fillers = sum(number for number, _ in counted)
    share = 100 * fillers / max(1, sum(len(one.tokens) for one in sentences))
    return worst if DISCOURSE_FILLERS.value(share, fillers)["verdict"] == "above" else None


def _join_names(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the {names[0]}"
    return "the " + ", the ".join(names[:-1]) + f" and the {names[-1]}"
