"""A judge that asks a language model: builds the call, learns what the endpoint takes, and reads the verdict."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog

from cj_stream.contracts.boundaries import essays_in
from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.contracts.judge_terms import Terms
from cj_stream.engine.texts import clip_bytes
from cj_stream.gateway.judges import (
    RAW_LIMIT,
    Answer,
    Failure,
    Limits,
    Question,
    UnavailableError,
    Verdict,
)
from cj_stream.gateway.models.connection import Heard, TooLargeError
from cj_stream.gateway.models.estimate import Estimator
from cj_stream.gateway.models.forms import Form, NoDecisionError, read_decision, system_text
from cj_stream.gateway.models.ladder import Rung
from cj_stream.gateway.models.prices import Price, TablePrice
from cj_stream.gateway.models.rates import limits_in
from cj_stream.gateway.models.refusals import UnacceptedError, document_of, hidden
from cj_stream.gateway.models.replies import Reply, Tokens
from cj_stream.gateway.models.suspicion import flags

_log = structlog.get_logger(__name__)

MOST_STEPS = 12
"""Calls of one question at most: each but the last was refused for a parameter, and is not paid."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


class Endpoint(Protocol):
    """One of the two interfaces, at an address."""

    def first_rung(self) -> Rung:
        """Return what is sent before anything is known."""

    def body(self, model: str, request: ComparisonRequest, rung: Rung, most_tokens: int) -> dict[str, Any]:
        """Return the parameters of a call."""

    def open(self) -> object:
        """Make ready to call."""

    async def call(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Heard:
        """Return the answer of whatever status. Raises UnavailableError and TooLargeError."""

    def read(self, document: Mapping[str, Any]) -> Reply:
        """Return what a good answer says. Raises NoDecisionError."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model is asked, and on what terms. ``most_tokens`` limits an answer, thinking included."""

    provider: str
    model: str
    address: str
    key: str
    price: Price | TablePrice
    limits: Limits | None = None
    most_tokens: int = 2048
    timeout_seconds: float = 120.0
    """For a whole answer, however slowly it comes."""

    @property
    def scope(self) -> str:
        """Return provider and model, and the host where it is not known from the provider."""
        host = urlsplit(self.address).netloc.rpartition("@")[2]
        return f"{self.provider}/{self.model}" + ("" if host.endswith(_OWN_HOSTS) else f"@{host}")


_OWN_HOSTS = ("api.openai.com", "api.anthropic.com", "openrouter.ai", "generativelanguage.googleapis.com")


class ModelJudge:
    """Asks a model, once for each question; only what the endpoint refused for a parameter is sent again without it."""

    def __init__(self, config: ModelConfig, endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._endpoint = endpoint
        self._clock = clock
        self._rung = endpoint.first_rung()
        self._estimator = Estimator()
        self._observed: Limits | None = None
        self._first = asyncio.Lock()
        self._answered = False

    @property
    def scope(self) -> str:
        """Return whose budget and breaker this is."""
        return self._config.scope

    @property
    def limits(self) -> Limits | None:
        """Return the limits that the judge was configured with."""
        return self._config.limits

    def observed_limits(self) -> Limits | None:
        """Return the limits that the endpoint's newest answer named."""
        return self._observed

    def tokens(self, question: Question) -> int:
        """Return the tokens to reserve for the question and its answer."""
        return self._estimator.tokens(self._size(question.request))

    def terms(self) -> Terms:
        """Return the prices, and what the calls so far have taught about tokens."""
        price = self._config.price if isinstance(self._config.price, Price) else self._config.price.plain()
        return Terms(
            provider=self._config.provider,
            model=self._config.model,
            input_price=price.input if price else None,
            output_price=price.output if price else None,
            bytes_per_token=self._estimator.bytes_per_token,
            output_tokens=self._estimator.mean_output,
            overhead_bytes=len(system_text(None, self._rung.form).encode()),
            calls=self._estimator.calls,
        )

    async def judge(self, question: Question) -> Answer:
        """Return the model's verdict, or why there is none. Raises PausedError and UnavailableError."""
        if self._answered:
            return await self._judge(question)
        # What the first call teaches, many at once would each pay a refusal for.
        async with self._first:
            if not self._answered:
                try:
                    return await self._judge(question)
                finally:
                    self._answered = True
        return await self._judge(question)

    async def close(self) -> None:
        """Close the connections to the endpoint."""
        await self._endpoint.close()

    async def _judge(self, question: Question) -> Answer:
        request = question.request
        try:
            document, rung = await self._document(request)
            reply = self._endpoint.read(document)
        except NoDecisionError as none:
            return self._failure(none.code, none.why)
        except TooLargeError as large:
            return self._failure("INVALID_RESPONSE", str(large))
        return self._answer(request, reply, rung.form)

    async def _document(self, request: ComparisonRequest) -> tuple[dict[str, Any], Rung]:
        for _ in range(MOST_STEPS):
            rung = self._rung
            body = self._endpoint.body(
                self._config.model, request, rung, request.max_tokens or self._config.most_tokens
            )
            heard = await self._call(body, request)
            self._observed = limits_in(heard.headers) or self._observed
            try:
                return document_of(heard, self._clock(), self._hide(request)), rung
            except UnacceptedError as error:
                self._learn(rung, error)
        raise NoDecisionError("VALIDATION_ERROR", "the endpoint refused one parameter after the other")

    async def _call(self, body: Mapping[str, Any], request: ComparisonRequest) -> Heard:
        # Outside of the time limit: what has not been sent has not been paid for.
        self._endpoint.open()
        try:
            # The time limit of the HTTP client begins anew with each piece of an answer.
            async with asyncio.timeout(self._config.timeout_seconds):
                return await self._endpoint.call(body, _headers(request))
        except TimeoutError:
            why = f"there was no whole answer within {self._config.timeout_seconds:g} s"
            raise UnavailableError(why, sent=True) from None

    def _learn(self, refused: Rung, error: UnacceptedError) -> None:
        if self._rung is not refused:
            return  # another call has learned it meanwhile
        complaint = error.complaint
        below = refused.below(complaint.parameter, f"{complaint.code} {complaint.message}")
        if below is None:
            raise NoDecisionError("VALIDATION_ERROR", f"HTTP 400 {complaint.code}: {complaint.message}") from error
        self._rung = below
        _log.info(
            "the endpoint does not take a parameter and is asked without it",
            scope=self.scope,
            form=below.form.value,
            left_out=sorted(below.left_out),
            limit=below.length,
        )

    def _answer(self, request: ComparisonRequest, reply: Reply, form: Form) -> Answer:
        tokens = self._believed(request, reply.tokens)
        paid: dict[str, Any] = {
            "usage": tokens.usage if tokens else None,
            "cost": self._config.price.of(tokens) if tokens else None,
            "raw": clip_bytes(reply.refusal or reply.text, RAW_LIMIT),
            "flags": flags(essays_in(request.user_prompt, request.correlation_id)),
        }
        try:
            decision = read_decision(reply.complete(), form)
        except NoDecisionError as none:
            return self._failure(none.code, none.why, **paid)
        return Verdict(
            winner=decision.winner,
            confidence=decision.confidence,
            justification=decision.justification,
            provider=self._config.provider,
            model=self._config.model,
            **paid,
        )

    def _failure(self, code: str, why: str, **paid: Any) -> Failure:
        return Failure(code, why, provider=self._config.provider, model=self._config.model, **paid)

    def _believed(self, request: ComparisonRequest, tokens: Tokens | None) -> Tokens | None:
        if tokens is None or not self._estimator.believes(self._size(request), tokens.usage):
            return None
        self._estimator.learn(self._size(request), tokens.usage)
        return tokens

    def _size(self, request: ComparisonRequest) -> int:
        return len(request.user_prompt.encode()) + len(system_text(request.system_prompt, self._rung.form).encode())

    def _hide(self, request: ComparisonRequest) -> Callable[[str], str]:
        return lambda message: hidden(message, request.user_prompt, self._config.key)


def _headers(request: ComparisonRequest) -> dict[str, str]:
    headers = {} if request.correlation_id is None else {"X-Correlation-ID": str(request.correlation_id)}
    traceparent = request.metadata.get("traceparent")
    if isinstance(traceparent, str) and _TRACEPARENT.fullmatch(traceparent):
        headers["traceparent"] = traceparent
    return headers
