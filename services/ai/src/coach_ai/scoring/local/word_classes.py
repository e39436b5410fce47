"""Classes of English words: grammar and manner of speaking, independent of the subject.

Each is a closed class or a list from a grammar. None was taken from the graded answers.
"""

import re
from collections.abc import Iterable, Sequence

IRREGULAR_PAST = frozenset(
    """
    arose ate awoke became began bent bet bid bit bled blew bore bought bound bred broke brought
    built burnt burst came cast caught chose clung cost crept cut dealt did dove drank dreamt drew
    drove dug fed fell fled flew forbade forgave fought found froze gave got grew ground hid hit
    held hung hurt kept knelt laid lay led left lent let lit lost made meant met overcame paid put
    quit ran rang rebuilt redid rewrote rode rose said sang sank sat saw sent set sewed shed shone
    shook shot showed shrank shut slept slid sold sought spent spilt split spoke spread sprang
    spun stood stole struck stuck swam swapped swept swore swung taught threw told took tore
    undertook undid went withdrew woke won wore wound wove wrote
    """.split()  # noqa: SIM905
)
_NOT_PAST = frozenset(
    """
    need speed indeed feed seed weed bleed breed deed exceed proceed succeed agreed-upon hundred
    red bed shed sacred naked wicked embed shred sled united
    """.split()  # noqa: SIM905
)
"""Words that end in -ed without being a past tense."""
STATIVE_VERBS = frozenset(
    """
    was were had felt thought knew liked wanted needed loved believed hoped guessed hated enjoyed
    seemed remembered understood meant preferred got lived studied applied heard saw grew used
    wondered worried supposed
    """.split()  # noqa: SIM905
)
"""Verbs of states, wishes and circumstances. They are not steps of the speaker."""
FILLERS = frozenset(
    ("um", "uh", "er", "erm", "uhm", "hmm", "mm", "like", "well", "okay", "ok", "yeah", "yes", "so",
     "right", "oh")
)  # fmt: skip
"""Words without meaning that may come between a subject and its verb."""
_BETWEEN_SUBJECT_AND_VERB = FILLERS | frozenset(
    """
    then also just first finally even had have 've never again always still now only both all
    actually sort kind of really simply next later once immediately personally
    """.split()  # noqa: SIM905
)
STOP_WORDS = frozenset(
    """
    a an and are as at be been but by did do for from had has have he her his i if in is it
    its me my not of on or our she so that the their them there they this to us was we were
    what when which who will with would you your about time tell describe give example how
    why
    """.split()  # noqa: SIM905
)
COMMON_WORDS = (
    STOP_WORDS
    | FILLERS
    | frozenset(
        """
    able above across after again against ago ahead all almost alone along already also although
    always am among another any anybody anyone anything anyway are area around ask asked away back
    bad based basically because become becoming before begin being believe below best better
    between big bit both bring brought call called came can can't cannot care case certain change
    changed changes clear close come comes coming course could couldn't day days deal did didn't
    different difficult does doesn't doing don't done down during each early easy either else end
    enough especially even ever every everybody everyone everything exactly experience fact far
    feel feeling felt few find fine first focus follow found full fun gave general get gets getting
    go goes going gone good got great group guess had half happen happened hard hasn't haven't
    having he's help helped here herself hi high him himself his hold hope i'd i'll i'm i've idea
    important into isn't it'd it'll it's itself job just keep kept kind knew know known last later
    learn least left less let let's life like likely little long longer look looked looking lot
    lots made main make makes making many matter may maybe me mean means might mine moment more
    most much must my myself need needed never new next nice no nobody none nor nothing now off
    often oh okay old once one ones only open opinion order other others our ourselves out over own
    part past people perhaps person place plan point possible pretty probably problem problems put
    quite rather real really reason right said same saw say saying says see seems seen several
    shall she's should show side since situation small some somebody somehow someone something
    sometimes somewhere soon sort start started still story stuff such sure take taken takes taking
    talk talked team tell than thank that's their themselves then there's these they'd they'll
    they're they've thing things think thinking those though thought through time times to today
    together told too took towards tried true try trying turn two type under understand until up
    upon us use used usually very want wanted was wasn't way ways we'd we'll we're we've went
    weren't what's whatever where whether while whole whose within without won't work worked
    working works world worse worst would wouldn't wrong year years yes yet you'd you'll you're
    you've yourself second seconds minute minutes hour hours week weeks month months morning
    afternoon evening
    """.split()  # noqa: SIM905
    )
)
"""Words that any answer to any question may contain. They are not content words."""

NUMBER = re.compile(
    r"\d[\d.,]*%?|\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen"
    r"|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|(?<!\ba )(hundred|thousand|million|billion)|half|third|quarter|twice|doubled|halved"
    r"|tripled|dozen|zero|percent)\b"
)
"""“A million” is a figure of speech and does not match."""
VAGUE_TERMS = re.compile(
    # Unspecified people and things, and general extenders (Overstreet, Whales, Candlelight and
    # Stuff).
    r"\b(everybody|everyone|everything|somebody|something|someone|anything|anybody|whatever|people"
    r"|others|things?|stuff|somehow|(a )?lots?|a bunch|kind of|sort of|or something|and so on"
    r"|and everything|and all that|etc|in general|more or less"
    # Generalisations.
    r"|always|usually|generally|normally|typically|often|sometimes|basically|obviously|overall"
    r"|should|of course|they (always )?say|as they say"
    # Intensifiers and evaluations.
    r"|really|very|quite|pretty|extremely|incredibly|absolutely|totally|honestly|important|good"
    r"|great|nice|amazing|fantastic|wonderful|perfect|exciting|excited|interesting|passionate"
    r"|motivated|crazy|easy|hard|tough|difficult|better|best)\b"
)


_NON_COUNT_FOLLOWERS = (
    (STOP_WORDS - {"a", "an", "time"})
    | FILLERS
    | frozenset(
        """
    all any back below each either every good nice now only or out over please points marks
    stars than under until up
    """.split()  # noqa: SIM905
    )
)
"""Words after a number that it does not count, or that a score counts: “five for every answer”,
“ten points”."""


_FIRST_PERSON = frozenset(
    ("i", "i'd", "i'm", "i'll", "i've", "we", "we'd", "we're", "we'll", "we've")
)
_BEFORE_PARTICIPLE = frozenset(
    ("a", "an", "the", "is", "are", "be", "been", "being", "it's", "that's", "as", "get", "gets")
)
"""After these words an -ed form is a participle, not a past tense."""


def is_past(token: str) -> bool:
    """True if a word has the form of a past tense."""
    if token in IRREGULAR_PAST:
        return True
    return len(token) > 4 and token.endswith("ed") and token not in _NOT_PAST


def concrete_numbers(clauses: Sequence[Sequence[str]]) -> set[str]:
    """Return the numbers of a sentence that carry information.

    In a sentence with a past event or the first person these are all numbers, otherwise percentages
    and numbers that are followed by what they count.
    """
    plain = [" ".join(clause) for clause in clauses]
    found = [(one, clause) for clause in plain for one in NUMBER.finditer(clause)]
    if not any(
        has_past_event(clause) or not _FIRST_PERSON.isdisjoint(clause) for clause in clauses
    ):
        found = [
            (one, clause)
            for one, clause in found
            if one[0].endswith("%") or _has_countable_follower(clause[one.end() :])
        ]
    return {one[0] for one, _ in found}


def _has_countable_follower(following: str) -> bool:
    rest = (token for token in following.split() if not NUMBER.fullmatch(token))
    return next(rest, "the") not in _NON_COUNT_FOLLOWERS


def has_past_event(tokens: Sequence[str]) -> bool:
    """True if the tokens contain a past tense that is not a participle (“is expected”)."""
    return any(
        is_past(token) and before not in _BEFORE_PARTICIPLE
        for before, token in zip(("", *tokens), tokens, strict=False)
    )


def is_filler_between(token: str) -> bool:
    """True if a word may come between a subject and its verb."""
    return token in _BETWEEN_SUBJECT_AND_VERB or (len(token) > 4 and token.endswith("ly"))


def content_words(tokens: Iterable[str]) -> set[str]:
    """Return the content words: neither common words nor numbers."""
    return {t for t in tokens if len(t) > 2 and t not in COMMON_WORDS and not NUMBER.fullmatch(t)}
