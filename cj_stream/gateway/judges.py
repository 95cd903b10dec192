"""What a judge is: it gets a question about two essays and gives a verdict, or says why it has none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.contracts.judge_terms import Terms
from cj_stream.domain.records import Slot

RAW_LIMIT = 8 * 1024
"""Bytes kept of a model's raw answer, in UTF-8."""


@dataclass(frozen=True)
class Question:
    """One pair in the order presented: ``first`` is the id of Essay A, ``second`` that of Essay B."""

    first: str
    second: str
    request: ComparisonRequest

    @property
    def prompt(self) -> str:
        """Return the whole prompt, both essays included."""
        return self.request.user_prompt

    def swapped(self) -> Question:
        """Return the pair named in the other order, for judges that go by the ids and not by the prompt."""
        return replace(self, first=self.second, second=self.first)


@dataclass(frozen=True)
class Usage:
    """The tokens of one call, as the endpoint counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Limits:
    """What an endpoint takes a minute; ``None`` is unknown or unlimited."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def lowered(self, other: Limits | None) -> Limits:
        """Return the lower of the two for each number: what an endpoint says only ever lowers a limit."""
        if other is None:
            return self
        return Limits(
            _lower(self.requests_per_minute, other.requests_per_minute),
            _lower(self.tokens_per_minute, other.tokens_per_minute),
        )


def _lower(one: float | None, other: float | None) -> float | None:
    known = [number for number in (one, other) if number is not None]
    return min(known) if known else None


@dataclass(frozen=True)
class Verdict:
    """The slot that won; ``confidence`` runs from 1 (a guess) to 5 (certain).

    ``cost`` is in US dollars, ``None`` when the price is unknown. ``raw`` is the model's own answer, at most
    ``RAW_LIMIT`` bytes. ``flags`` say what was noticed, such as ``instruction_in_first``.
    """

    winner: Slot
    confidence: float
    justification: str
    provider: str
    model: str
    usage: Usage | None = None
    cost: float | None = None
    raw: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why there is no verdict, in the provider's error codes; it may have been paid for all the same."""

    code: str
    message: str
    provider: str | None = None
    model: str | None = None
    usage: Usage | None = None
    cost: float | None = None
    raw: str | None = None
    flags: tuple[str, ...] = ()


Answer = Verdict | Failure


class PausedError(Exception):
    """The endpoint wants all callers of this scope to wait: nothing was answered or paid, the question stays open.

    ``seconds`` can be hours.
    """

    def __init__(self, seconds: float, why: str) -> None:
        super().__init__(f"wait {seconds:g} s: {why}")
        self.seconds = seconds
        self.why = why


class UnavailableError(Exception):
    """The endpoint failed (5xx, time-out, connection error), which counts for the breaker of its scope.

    ``sent`` says whether the request may have arrived, and so may be paid for.
    """

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.why = why
        self.sent = sent


class Judge(Protocol):
    """Judges pairs. An exception other than the two above counts as a failed comparison."""

    @property
    def scope(self) -> str:
        """Return whose budget and breaker this is: provider and model, such as ``mock/simulated``."""

    @property
    def limits(self) -> Limits | None:
        """Return the limits that the judge was configured with, None without any."""

    def observed_limits(self) -> Limits | None:
        """Return the limits that the endpoint's newest answer named, None when it named none."""

    def tokens(self, question: Question) -> int:
        """Return the estimate of the tokens, in and out, that the question will take."""

    def terms(self) -> Terms:
        """Return what a question costs, for an estimate beforehand."""

    async def close(self) -> None:
        """Close what the judge holds open."""

    async def judge(self, question: Question) -> Answer:
        """Return the verdict on this pair, or the failure to have one.

        Raises PausedError when the endpoint wants a wait, UnavailableError when it failed.
        """


class Unlimited:
    """The parts of a judge that calls nothing, and so has no limits and costs nothing."""

    scope: str
    limits: Limits | None = None

    def observed_limits(self) -> Limits | None:
        """Return None: there is no endpoint."""
        return None

    def tokens(self, question: Question) -> int:  # noqa: ARG002 -- part of the protocol
        """Return 0: no tokens are used."""
        return 0

    def terms(self) -> Terms:
        """Return that nothing costs anything."""
        provider, _, model = self.scope.partition("/")
        return Terms(
            provider=provider,
            model=model,
            input_price=0.0,
            output_price=0.0,
            bytes_per_token=1.0,
            output_tokens=0.0,
            overhead_bytes=0,
            calls=0,
        )

    async def close(self) -> None:
        """Do nothing: nothing is open."""


class OrderFree(Unlimited):
    """Makes the verdicts of a judge that goes by the ids independent of the order in which they are presented."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.scope = judge.scope

    async def judge(self, question: Question) -> Answer:
        """Ask about the pair in the order of its ids, and turn the answer round where that was the other order."""
        if question.first <= question.second:
            return await self._judge.judge(question)
        answer = await self._judge.judge(question.swapped())
        if isinstance(answer, Failure):
            return answer
        return replace(answer, winner="B" if answer.winner == "A" else "A")
