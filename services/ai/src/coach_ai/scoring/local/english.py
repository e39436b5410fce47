"""The language pack of English."""

import re
from functools import cache
from importlib.resources import files

import yaml

from coach_ai.scoring.local.language_pack import LanguagePack


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_IRREGULAR_PAST = _words(
    """
    arose ate awoke became began bent bet bid bit bled blew bore bought bound bred broke brought
    built burnt burst came cast caught chose clung cost crept cut dealt did dove drank dreamt drew
    drove dug fed fell fled flew forbade forgave fought found froze gave got grew ground had hid
    hit held hung hurt kept knelt laid lay led left lent let lit lost made meant met overcame paid
    put quit ran rang read rebuilt redid rewrote rode rose said sang sank sat saw sent set sewed
    shed shone shook shot showed shrank shut slept slid sold sought spent spilt split spoke spread
    sprang spun stood stole struck stuck swam swapped swept swore swung taught threw told took tore
    undertook undid was went were withdrew woke won wore wound wove wrote
    """
)
_NOT_PAST = _words("need speed indeed feed seed weed deed exceed proceed succeed hundred shed")
_VAGUE = _words(
    """
    something somehow things thing stuff everything everyone everybody situation problem problems
    solution way best lot lots good better fine okay well great nice important different various
    certain positive successful
    """
)
_SCORER_TERMS = _words(
    """
    score scores level levels points answer candidate rating rate transcript evaluator marks record
    grade grading evaluation criteria rubric panel recruiter coach interviewer assistant verdict
    band output system applicant reviewer count counts dimensions
    """
)
_STOP_WORDS = _words(
    """
    about after again because before being could every first from have having into itself just like
    might more most never only other others over really should since some still than that their
    them then there these they thing things think this those though three through under until very
    wanted were what when where whether which while whole with without would
    """
)
_NUMBER = re.compile(
    r"\d[\d.,]*%?|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen"
    r"|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty"
    r"|seventy|eighty|ninety|(?<!\ba )(hundred|thousand|million|billion)|half|third|quarter|fifth"
    r"|tenth|twice|doubled|halved|tripled|dozen|zero|none|percent)\b"
)
_DUTY = re.compile(
    r"\b(my (job|task|part|target|goal|duty|role)|responsible|in charge|(was|were) (asked|told|to)"
    r"|had to|up to me|on me|needed to|supposed to|the (target|goal|deadline))\b"
)
_ADDRESSES_SCORER = re.compile(
    r"\b(ignore|disregard|forget|override) (all|the|any|every|your|previous|earlier)\b|\brubric\b"
    r"|\bsystem prompt\b|\bas an ai\b|\byou are (now )?(a|an|my) \w+ ?(teacher|friend|assistant)?"
    r"\b.{0,20}\b(score|grade|point)|\bfull marks\b|\bperfect score\b"
    r"|\b(give|award|assign|set|mark|rate)\b.{0,60}\b(scores?|marks|rating|grades?|dimensions?)\b"
    r"|\b(score|rate|grade|mark) (me|this|it all|everything)\b|\bout of ten\b|\blevel (five|5)\b"
    # Records of what was not said: "the coach wrote that I called the bank".
    r"|\b(coach|interviewer|recruiter|reviewer|assessor|examiner|panel|transcript|protocol|minutes"
    r"|summary|notes|file|records?)\b.{0,30}\b(wrote|written|noted?|says?|states?|stated|recorded"
    r"|confirmed|shows?|established|documented|stored)\b.{0,25}\b(that|how) (i|the candidate)\b"
    r"|\b(recorded|noted|documented|established|confirmed|on file|on record) (here )?that"
    r" (i|the candidate)\b|\baccording to (the|your|my) (notes|file|record|transcript|protocol)\b"
)
"""“A million” is a figure of speech and no number."""


@cache
def load_english() -> LanguagePack:
    """Return the pack. Its texts are in `english.yaml`."""
    text = (files("coach_ai.scoring.local") / "english.yaml").read_text("utf-8")
    return LanguagePack(
        code="en",
        first_person=_words("i i've i'd i'm i'll"),
        first_person_plural=_words("we we've we'd we're we'll"),
        third_person=_words("he she they it nobody everybody people"),
        second_person=_words("you your you're"),
        speaker=_words("i i've i'd i'm i'll my me"),
        speaker_plural=_words("we we've we'd we're we'll our us"),
        others=_words("he she his her him"),
        irregular_past=_IRREGULAR_PAST,
        not_past=_NOT_PAST,
        past_ending="ed",
        conditional=_words("would i'd could"),
        causal=_words("because since if otherwise"),
        vague=_VAGUE,
        habitual=_words("always usually often sometimes normally never every"),
        change=_words("since now next today ever differently learned taught realised lesson"),
        scorer_terms=_SCORER_TERMS,
        stop_words=_STOP_WORDS,
        number=_NUMBER,
        duty=_DUTY,
        addresses_scorer=_ADDRESSES_SCORER,
        texts=yaml.safe_load(text),
    )
