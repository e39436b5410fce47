"""The reasons in an answer: causes, contrasts, conditions, costs and examples, by their wording.

This needs no knowledge of the subject and does not check whether a reason is right.
"""

import re
from dataclasses import dataclass

from coach_ai.scoring.local.parsed_answer import ParsedAnswer
from coach_ai.text import Sentence, tokenize

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
    """Number of reasons of each kind, and the first sentence with a cause and with a cost."""

    causes: int
    contrasts: int
    conditions: int
    costs: int
    examples: int
    first_cause: Sentence | None
    first_cost: Sentence | None

    @property
    def weight(self) -> float:
        """All reasons as one number. A condition counts half: “if” often only means “when”."""
        return self.causes + self.contrasts + self.costs + self.conditions / 2

    def describe(self) -> str:
        """Return the kinds that were found as text, or an empty string."""
        kinds = {
            "reasons": self.causes,
            "a comparison": self.contrasts,
            "conditions": self.conditions,
            "costs or risks": self.costs,
        }
        found = [name for name, count in kinds.items() if count]
        return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def find_reasons(parsed: ParsedAnswer, question: str) -> Reasons:
    """Return the reasons of an answer. Cost terms of the question are not counted."""
    question_terms = set(tokenize(question))
    plain = {one: ", ".join(" ".join(clause) for clause in one.clauses) for one in parsed.sentences}
    costs = {
        one: {m[0] for m in _COST.finditer(text)} - question_terms for one, text in plain.items()
    }
    whole = " . ".join(plain.values())
    return Reasons(
        causes=len(_CAUSE.findall(whole)),
        contrasts=len(_CONTRAST.findall(whole)),
        conditions=len(_CONDITION.findall(whole)),
        costs=len(set().union(*costs.values())),
        examples=len(_EXAMPLE.findall(whole)),
        first_cause=next(
            (one.sentence for one, text in plain.items() if _CAUSE.search(text)), None
        ),
        first_cost=next((one.sentence for one, found in costs.items() if found), None),
    )
