"""What asking a language model takes: its tokens and their price. Plain Python."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

Price = tuple[float, float]
"""US dollars for a million tokens, into the model and out of it."""


@dataclass(slots=True)
class Spent:
    """What was spent so far: kept while a provider is asked, so that a failure's share counts too.

    `model` is whom it was spent on, "" where nothing was."""

    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        """Both directions."""
        return self.tokens_in + self.tokens_out

    def add(self, model: str, tokens_in: int, tokens_out: int) -> None:
        """Count one request more."""
        self.model = model
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out

    def microdollars(self, prices: Mapping[str, Price]) -> int | None:
        """Return the cost in millionths of a US dollar, rounded up; None for an unknown model.

        Tokens that a provider has cached cost less: this is what they cost at most.
        """
        if self.model not in prices:
            return None
        price_in, price_out = prices[self.model]
        return math.ceil(round(self.tokens_in * price_in + self.tokens_out * price_out, 6))
