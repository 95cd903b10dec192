"""What a call costs, in US dollars: from the operator's own prices, else from the table of ``genai-prices``.

The table is on the disk; nothing is fetched. A price that nobody knows is unknown, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from cj_stream.gateway.models.replies import Tokens

MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens that go in, and for a million that come out."""

    input: float
    output: float

    def of(self, tokens: Tokens) -> float:
        """Return what a call cost; tokens from a cache at the full price, since the operator named no other."""
        usage = tokens.usage
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / MILLION


@dataclass(frozen=True)
class TablePrice:
    """The price of a model in the table, which may depend on the time, the length of a call, and the cache."""

    model: str
    provider: str | None
    """The table's name of the provider, None where the address tells."""
    address: str

    def of(self, tokens: Tokens) -> float | None:
        """Return what a call cost, None when the table does not know the model."""
        return self._cost(tokens.usage.input_tokens, tokens.usage.output_tokens, tokens.cached)

    def plain(self) -> Price | None:
        """Return the price of ordinary tokens, None when the table does not know the model."""
        # A thousand tokens: prices of some models rise with the length of a call.
        given, answered = self._cost(1000, 0, 0), self._cost(0, 1000, 0)
        return None if given is None or answered is None else Price(given * 1000, answered * 1000)

    def _cost(self, given: int, answered: int, cached: int) -> float | None:
        try:
            from genai_prices import Usage, calc_price  # noqa: PLC0415 -- of an extra, and only where it is used
        except ImportError:
            return None
        usage = Usage(input_tokens=given, output_tokens=answered, cache_read_tokens=cached or None)
        try:
            if self.provider is not None:
                price: Decimal = calc_price(usage, self.model, provider_id=self.provider).total_price
            else:
                price = calc_price(usage, self.model, provider_api_url=self.address).total_price
        except (LookupError, ValueError):
            return None
        return float(price)
