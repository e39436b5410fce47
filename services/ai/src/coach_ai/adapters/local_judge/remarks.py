"""The remarks: what stands, what to work on, each with the words it rests on."""

from collections.abc import Sequence

from coach_ai import delivery
from coach_ai.adapters.local_judge.reading import BOAST, PARTS, Reading
from coach_ai.domain import Answer, Claim, MainImprovement
from coach_ai.evidence import Sentence, claim

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


def strengths(answer: Answer, reading: Reading) -> list[Claim]:
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


def improvements(answer: Answer, reading: Reading, levels: dict[str, int | None]) -> list[Claim]:
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
    boast = next((s for s in reading.sentences if BOAST.search(" ".join(s.tokens))), None)
    if boast is not None:
        text = "Let the facts say this for you: it claims without showing."
        found.append(claim(answer, "improvement", "specificity", text, boast.text))
    filler = _filler_sentence(reading)
    if filler is not None:
        text = "Drop the filler here; a short pause says the same."
        found.append(claim(answer, "improvement", "delivery", text, filler.text))
    return found[:4]


def _filler_sentence(reading: Reading) -> Sentence | None:
    counted = [(delivery.count_fillers(s.tokens), s) for s in reading.sentences]
    count, worst = max(counted, key=lambda pair: pair[0])
    total = sum(number for number, _ in counted)
    return worst if count and total >= 2 else None


def in_words(reading: Reading, main: MainImprovement | None, measured: dict[str, object]) -> str:
    """Return the feedback as a coach would say it: what stands, one thing to work on, a drill."""
    there = [part for part in PARTS if reading.parts[part]]
    missing = [part for part in PARTS if not reading.parts[part]]
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


def main_thing(
    reading: Reading, levels: dict[str, int | None], claims: Sequence[Claim]
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
    where = "structure" if main in PARTS else main
    remark = next((one for one in improvements if one.dimension == where), None)
    if remark is None:
        longest = max(reading.sentences, key=lambda sentence: len(sentence.tokens))
        return MainImprovement(_FOCUS[where], longest.text, _DRILL[main])
    return MainImprovement(remark.text, remark.quote, _DRILL[main])


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the {names[0]}"
    return "the " + ", the ".join(names[:-1]) + f" and the {names[-1]}"
