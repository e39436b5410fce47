"""How far an answer gives reasons: why, compared with what, under which condition, at what cost.

It needs no knowledge of the subject, and does not know whether a reason is right.
"""

import re
from dataclasses import dataclass

from coach_ai.adapters.local_judge.reading import Reading
from coach_ai.evidence import Sentence, tokens_of

_CAUSE = re.compile(
    r"\b(because|since(?! (then|that day|the|last|\d|i was))|therefore|thus|hence|so that"
    r"|that's why|this is why|which is why|which means|that means|meaning that|otherwise"
    r"|due to|in order to"
    r"|the reason|this way|that way|leads? to)\b|, (and )?so (?!on\b|yeah\b|far\b)"
)
_CONTRAST = re.compile(
    r"\b(but|however|although|though|whereas|while|instead|rather|unless|except|despite|even if"
    r"|on the other hand|the other way round|versus|compared (to|with)|in contrast)\b"
)
_CONDITION = re.compile(r"\b(if|unless|as long as|until|once|depends? on|depending on|in case)\b")
_COST = re.compile(
    r"\b(costs?|costly|price|expensive|slow(s|er|ed)?|risk\w*|fail(s|ed|ure|ures)?|crash\w*"
    r"|break(s|ing)?|broke|los(e|es|t|ing)|wrong|leak\w*|block(s|ed|ing)?|stale|wast\w+|pay(s|ing)?"
    r"|trade-?offs?|downside|drawback|overhead|danger\w*|mistakes?|disadvantage|limit(s|ed)?"
    r"|at the (cost|expense) of|go(es)? wrong|bottleneck|conflicts?|nuisance|too (\w+))\b"
)
_EXAMPLE = re.compile(
    r"\b(for example|for instance|such as|e\.g|say|once (i|we)|(i|we) once|imagine|in (my|our))\b"
)


@dataclass(frozen=True, slots=True)
class Reasons:
    """How often each kind of reason stands in an answer, and where the first ones stand."""

    causes: int
    contrasts: int
    conditions: int
    costs: int
    examples: int
    why: Sentence | None
    cost: Sentence | None

    @property
    def weight(self) -> float:
        """All of them as one number; a condition counts half, as “if” often only tells when."""
        return self.causes + self.contrasts + self.costs + self.conditions / 2

    def in_words(self) -> str:
        """Return what was found, or nothing."""
        kinds = {
            "reasons": self.causes,
            "a comparison": self.contrasts,
            "conditions": self.conditions,
            "what it costs or where it fails": self.costs,
        }
        found = [name for name, count in kinds.items() if count]
        return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def find(reading: Reading, question: str) -> Reasons:
    """Return the reasons; the question's own words are none."""
    asked = set(tokens_of(question))
    plain = {one: ", ".join(" ".join(clause) for clause in one.clauses) for one in reading.said}
    costs = {one: {m[0] for m in _COST.finditer(text)} - asked for one, text in plain.items()}
    whole = " . ".join(plain.values())
    return Reasons(
        causes=len(_CAUSE.findall(whole)),
        contrasts=len(_CONTRAST.findall(whole)),
        conditions=len(_CONDITION.findall(whole)),
        costs=len(set().union(*costs.values())),
        examples=len(_EXAMPLE.findall(whole)),
        why=next((one.sentence for one, text in plain.items() if _CAUSE.search(text)), None),
        cost=next((one.sentence for one, found in costs.items() if found), None),
    )
