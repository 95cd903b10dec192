"""What a judge costs, as our own gateway tells it on ``GET {base}/judges/{name}``: for an estimate beforehand."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cj_stream.contracts.envelope import read_object
from cj_stream.contracts.refusal import Refused

TERMS_LIMIT = 16 * 1024
"""Bytes of the answer that are read."""
_MILLION = 1_000_000
_NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a question costs and takes, as far as it is known; prices in US dollars for a million tokens.

    ``overhead_bytes`` is what is sent with each prompt, ``output_tokens`` the mean of an answer. Before the first of
    ``calls`` the numbers of tokens are guesses.
    """

    provider: str
    model: str
    input_price: _NotNegative | None
    output_price: _NotNegative | None
    bytes_per_token: Annotated[float, msgspec.Meta(gt=0)]
    output_tokens: _NotNegative
    overhead_bytes: Annotated[int, msgspec.Meta(ge=0)]
    calls: Annotated[int, msgspec.Meta(ge=0)]

    def cost(self, *, prompt_bytes: float, comparisons: float) -> float | None:
        """Return what these comparisons will cost, US dollars, None when a price is unknown.

        ``prompt_bytes`` is the mean of their prompts.
        """
        if self.input_price is None or self.output_price is None:
            return None
        given = (prompt_bytes + self.overhead_bytes) / self.bytes_per_token * self.input_price
        return comparisons * (given + self.output_tokens * self.output_price) / _MILLION


def read_terms(body: bytes) -> Terms:
    """Return the terms in an answer. Raises ``Refused``."""
    document = read_object(body, TERMS_LIMIT)
    try:
        return msgspec.convert(document, Terms)
    except msgspec.ValidationError as error:
        raise Refused("wrong_field", f"These are no terms of a judge: {error}.") from None
