"""How many tokens a question takes, learned from what the endpoint has counted so far."""

from __future__ import annotations

import math
from collections import deque

from cj_stream.gateway.judges import Usage

BYTES_PER_TOKEN = 3.5
"""What is taken before the first answer: between English (4.4) and Swedish (3.2) for today's models."""
OUTPUT_TOKENS = 150
PRIOR_BYTES = 2_000
"""The bytes that the first guess is worth: one short comparison outweighs it."""
KEPT = 200
"""Answers whose lengths are kept."""
_MEMORY = 0.98
"""How much of what was known a new call leaves: the newest 50 calls decide."""
_BELIEVED_TOKENS_PER_BYTE = 2
_BELIEVED_EXTRA = 10_000
_HIGH_SHARE = 0.9


class Estimator:
    """Learns bytes per token and the lengths of answers. What no tokenizer could count is not learned from."""

    def __init__(self) -> None:
        self._bytes = float(PRIOR_BYTES)
        self._tokens = PRIOR_BYTES / BYTES_PER_TOKEN
        self._answers: deque[int] = deque(maxlen=KEPT)
        self.calls = 0

    @property
    def bytes_per_token(self) -> float:
        """Return how many bytes of a prompt make one token."""
        return self._bytes / self._tokens

    @property
    def mean_output(self) -> float:
        """Return the mean of the tokens of an answer."""
        return sum(self._answers) / len(self._answers) if self._answers else OUTPUT_TOKENS

    @property
    def high_output(self) -> int:
        """Return what nine of ten answers do not exceed."""
        if not self._answers:
            return OUTPUT_TOKENS
        return sorted(self._answers)[math.ceil(_HIGH_SHARE * len(self._answers)) - 1]

    def tokens(self, prompt_bytes: int) -> int:
        """Return the tokens to reserve for a prompt of this size and its answer."""
        return math.ceil(prompt_bytes / self.bytes_per_token) + self.high_output

    def believes(self, prompt_bytes: int, usage: Usage) -> bool:
        """Return whether a prompt of this size can have taken these tokens."""
        return 0 < usage.input_tokens <= prompt_bytes * _BELIEVED_TOKENS_PER_BYTE + _BELIEVED_EXTRA

    def learn(self, prompt_bytes: int, usage: Usage) -> None:
        """Take in what a call used."""
        self._bytes = self._bytes * _MEMORY + prompt_bytes
        self._tokens = self._tokens * _MEMORY + usage.input_tokens
        self._answers.append(usage.output_tokens)
        self.calls += 1
