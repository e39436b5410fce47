"""What is no answer, whoever judges, and what in one speaks to whoever judges. Plain Python."""

import re

from coach_ai.domain import UNCLEAR, Answer
from coach_ai.evidence import Sentence, sentences_of, tokens_of

_MIN_WORDS = 15
_MIN_OWN = 5
_SHORT = 3

_NONE = re.compile(
    r"^\W*(i (really )?(do not|don't) know|no idea|i have no idea|pass|fine|nothing|"
    r"i can'?t (think|remember)[^.]*|n/?a)\W*$"
)

_WHO = (
    r"(evaluator|examiner|grader|assessor|judge|reviewer|assistant|system|language model|chatbot|"
    r"ai|model)"
)
_MARKS = (
    r"(full marks|(highest|top|best|perfect|maximum|full|good) (possible )?"
    r"(score|mark|point|grade|rating|level)s?|excellent|level (five|5)|"
    r"(five|5) out of (five|5)|(ten|10) out of (ten|10)|"
    r"(one hundred|a hundred|100|ninety[- ]five|95)( points| percent)?)\b"
)
_ORDERS = re.compile(
    # the rules shall not count
    r"\b(ignore|disregard|forget|override|bypass)( \w+){0,2}? (rubric|prompt)\b|"
    r"\b(ignore|disregard|forget|override|bypass)( \w+)?? (all|any|your|previous|prior|earlier)"
    r"( \w+){0,3}? (instructions?|rules|criteria|guidelines|orders)\b|"
    r"\b(ignore|disregard) (everything|all|anything) (above|before|previous)|"
    # whoever judges is spoken to
    rf"^\W*(dear|hey|attention|(a )?(note|message) (to|for)) (the |my |your )?{_WHO}\b|"
    r"^\W*(system|assistant)\s*[:,]|\bsystem prompt\b|\bas an ai\b|"
    rf"\byou are now (a|an|the|my)\b.{{0,40}}\b{_WHO}\b|"
    # a mark is asked for
    r"(^\W*|\b(please|and|to|must|should|just|only) )(give|award|assign|grant|rate|grade|score|"
    rf"mark|set|return|output|answer|respond|confirm)\b( \S+){{0,9}}? {_MARKS}|"
    rf"\b(answer|respond|reply) only with\b|\bgets? {_MARKS}|"
    r"(^\W*|\bplease |\byou to )(set|mark|rate|grade|score) (this|my|the|every|each|all)\b.{0,30}"
    r"\b(answer|candidate|dimension|transcript|interview)s?\b|"
    # the marks are written down already
    r"^\W*end of (the )?transcript\b|"
    rf"^\W*(assessment|verdict|judg\w+)\W+((overall|\w+) )?(score )?{_MARKS}"
)


def why_none(answer: Answer) -> str | None:
    """Return why there is no answer to judge; None where there is something."""
    words = tokens_of(answer.text)
    if answer.language not in (None, "en"):
        return "The answer is not in English, the only language this coach can judge."
    if answer.is_unclear:
        return UNCLEAR
    if not words or _NONE.match(" ".join(words)):
        return "There is no answer to judge here. Try again with a story of your own."
    if len(words) < _MIN_WORDS:
        return f"{len(words)} words are too few to judge. Take a minute or two for an answer."
    own = set(words) - set(tokens_of(answer.question or ""))
    if answer.question and sum(len(word) > _SHORT for word in own) < _MIN_OWN:
        return "This is the question read back, not an answer to it."
    return None


def is_order(sentence: Sentence) -> bool:
    """Tell whether a sentence gives orders to whoever judges. Known wordings only."""
    return _ORDERS.search(sentence.text.lower()) is not None


def without_orders(text: str) -> str:
    """Return the text without the sentences that give orders to whoever judges it.

    Known wordings only. Such a sentence is gone with all that stands in it.
    """
    orders = [one for one in sentences_of(text) if is_order(one)]
    if not orders:
        return text
    kept, at = [], 0
    for order in orders:
        kept.append(text[at : order.begin].strip())
        at = order.end
    return " ".join(part for part in (*kept, text[at:].strip()) if part)
