"""What counts of an answer, and where the parts of a story stand in it."""

import re
from dataclasses import dataclass

from coach_ai.domain import Answer
from coach_ai.evidence import Sentence, sentences_of

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
PARTS = tuple(_CUES)
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
BOAST = re.compile(
    r"\b(the best|amazing|incredible|world[- ]class|genius|perfect|always succeed|never fail|"
    r"rock ?star|ninja|extremely talented|very smart)\b"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer as the signals see it: what counts of it, and where each part stands."""

    sentences: list[Sentence]
    parts: dict[str, list[Sentence]]
    measured: list[Sentence]
    figures: int

    @property
    def text(self) -> str:
        """What counts, as one text."""
        return " ".join(sentence.text for sentence in self.sentences)


def read(answer: Answer) -> Reading:
    """Leave out what is said to the judge and what was said before; find the parts."""
    seen: set[tuple[str, ...]] = set()
    counted: list[Sentence] = []
    for sentence in sentences_of(answer.text):
        plain = " ".join(sentence.tokens)
        if sentence.tokens in seen or _TO_THE_JUDGE.search(plain):
            continue
        seen.add(sentence.tokens)
        counted.append(sentence)
    parts: dict[str, list[Sentence]] = {part: [] for part in PARTS}
    for sentence in counted:
        plain = " ".join(sentence.tokens)
        if BOAST.search(plain):
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
    return Reading(counted, parts, measured, figures)
