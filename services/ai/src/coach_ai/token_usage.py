"""Language model tokens and their price. Plain Python."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from coach_common.errors import Unavailable

Price = tuple[float, float]
"""US dollars per million input tokens and per million output tokens."""


@dataclass(slots=True)
class TokenUsage:
    """Tokens used so far. Updated during a request, so that a failed request counts too.

    `model` is empty until tokens were used.
    """

    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        """Input and output tokens."""
        return self.tokens_in + self.tokens_out

    def add(self, model: str, tokens_in: int, tokens_out: int) -> None:
        """Add the tokens of one request."""
        self.model = model
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out

    def cost_microdollars(self, prices: Mapping[str, Price]) -> int | None:
        """Return the cost in millionths of a US dollar, rounded up, or None without a price.

        This is an upper bound: providers charge less for cached tokens.
        """
        if self.model not in prices:
            return None
        price_in, price_out = prices[self.model]
        return math.ceil(round(self.tokens_in * price_in + self.tokens_out * price_out, 6))


class BudgetExceeded(Unavailable):
    """The user's daily budget is used up. The same work may succeed tomorrow."""

    code = "budget_spent"


class TokenBudget(Protocol):
    """A user's budget during one piece of work."""

    @property
    def usage(self) -> TokenUsage:
        """The tokens used so far. The caller adds to it."""

    async def reserve(self, tokens: int) -> None:
        """Reserve tokens of the user's day. Raises BudgetExceeded if fewer are left."""


@dataclass(slots=True)
class UnlimitedBudget:
    """A TokenBudget without a limit."""

    usage: TokenUsage = field(default_factory=TokenUsage)

    async def reserve(self, tokens: int) -> None:
        """Do nothing."""
