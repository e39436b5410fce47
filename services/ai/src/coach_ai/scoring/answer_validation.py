"""Checks shared by all scorers: reject answers that cannot be scored, and detect prompt injections.

Makes no request.
"""

import re

from coach_ai.domain import Answer
from coach_ai.scoring.language import is_english
from coach_ai.text import Sentence, split_sentences, tokenize

UNCLEAR_AUDIO_MESSAGE = (
    "The audio is too unclear to score: too much of the transcript may be wrong. Try again closer"
    " to the microphone, in a quieter place."
)

NOT_ENGLISH = (
    "The answer is not in English, or cannot be understood as English. Only English can be scored."
)

_MIN_WORDS = 15
_MIN_OWN_WORDS = 5
_MAX_SHORT_WORD_LENGTH = 3

_NO_ANSWER = re.compile(
    r"^\W*(i (really )?(do not|don't) know|no idea|i have no idea|pass|fine|nothing|"
    r"i can'?t (think|remember)[^.]*|n/?a)\W*$"
)

_EVALUATOR = (
    r"(evaluator|examiner|grader|assessor|judge|reviewer|assistant|system|language model|chatbot|"
    r"ai|model)"
)
_TOP_SCORE = (
    r"(full marks|(highest|top|best|perfect|maximum|full|good) (possible )?"
    r"(score|mark|point|grade|rating|level)s?|excellent|level (five|5)|"
    r"(five|5) out of (five|5)|(ten|10) out of (ten|10)|"
    r"(one hundred|a hundred|100|ninety[- ]five|95)( points| percent)?)\b"
)
_INJECTIONS = re.compile(
    # The rules are to be ignored.
    r"\b(ignore|disregard|forget|override|bypass)( \w+){0,2}? (rubric|prompt)\b|"
    r"\b(ignore|disregard|forget|override|bypass)( \w+)?? (all|any|your|previous|prior|earlier)"
    r"( \w+){0,3}? (instructions?|rules|criteria|guidelines|orders)\b|"
    r"\b(ignore|disregard) (everything|all|anything) (above|before|previous)|"
    # The evaluator is addressed.
    rf"^\W*(dear|hey|attention|(a )?(note|message) (to|for)) (the |my |your )?{_EVALUATOR}\b|"
    r"^\W*(system|assistant)\s*[:,]|\bsystem prompt\b|\bas an ai\b|"
    rf"\byou are now (a|an|the|my)\b.{{0,40}}\b{_EVALUATOR}\b|"
    # A score is requested.
    r"(^\W*|\b(please|and|to|must|should|just|only) )(give|award|assign|grant|rate|grade|score|"
    rf"mark|set|return|output|answer|respond|confirm)\b( \S+){{0,9}}? {_TOP_SCORE}|"
    rf"\b(answer|respond|reply) only with\b|\bgets? {_TOP_SCORE}|"
    r"(^\W*|\bplease |\byou to )(set|mark|rate|grade|score) (this|my|the|every|each|all)\b.{0,30}"
    r"\b(answer|candidate|dimension|transcript|interview)s?\b|"
    # A score is stated.
    r"^\W*end of (the )?transcript\b|"
    rf"^\W*(assessment|verdict|judg\w+)\W+((overall|\w+) )?(score )?{_TOP_SCORE}"
)


def rejection_reason(answer: Answer) -> str | None:
    """Return why an answer cannot be scored, or None if it can."""
    words = tokenize(answer.text)
    if answer.language not in (None, "en") or not is_english(answer.text):
        return NOT_ENGLISH
    if answer.is_unclear:
        return UNCLEAR_AUDIO_MESSAGE
    if not words or _NO_ANSWER.match(" ".join(words)):
        return "There is no answer to score. Try again with an example of your own."
    if len(words) < _MIN_WORDS:
        count = "1 word is" if len(words) == 1 else f"{len(words)} words are"
        return f"{count} too few to score. Take a minute or two for your answer."
    own_words = set(words) - set(tokenize(answer.question or ""))
    if (
        answer.question
        and sum(len(word) > _MAX_SHORT_WORD_LENGTH for word in own_words) < _MIN_OWN_WORDS
    ):
        return "This repeats the question instead of answering it."
    return None


def is_prompt_injection(sentence: Sentence) -> bool:
    """True if a sentence instructs the evaluator, in one of the known wordings."""
    return _INJECTIONS.search(sentence.text.lower()) is not None


def strip_injections(text: str) -> str:
    """Return the text without the sentences that instruct the evaluator.

    Detects known wordings only. A detected sentence is removed completely.
    """
    injections = [one for one in split_sentences(text) if is_prompt_injection(one)]
    if not injections:
        return text
    kept, at = [], 0
    for injection in injections:
        kept.append(text[at : injection.begin].strip())
        at = injection.end
    return " ".join(part for part in (*kept, text[at:].strip()) if part)
