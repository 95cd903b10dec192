"""Submits comparisons to the LLM provider over HTTP, patiently for a moment and never against an open breaker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote
from uuid import UUID

import aiohttp
import stamina
from msgspec import structs
from yarl import URL

from cj_stream.contracts.comparison_api import (
    ANSWER_LIMIT,
    MESSAGE_LIMIT,
    ComparisonAnswer,
    ComparisonRequest,
    NotAccepted,
    comparison_request,
    echo_metadata,
    read_response,
    redirected_answer,
    unreadable_answer,
)
from cj_stream.domain.records import Overrides
from cj_stream.engine.foreign_answers import (
    AnswerTooLargeError,
    RedirectedError,
    body_of,
)
from cj_stream.engine.texts import clip
from cj_stream.engine.times import iso_time
from cj_stream.operations.settings import Settings
from cj_stream.operations.troubles import Trouble, remedy_for, remedy_of, with_remedy
from cj_stream.provider.breakers import BreakerChange, Breakers, HeldUp, scope_of
from cj_stream.provider.echoes import without_echo
from cj_stream.provider.prompts import JudgingInstructions, comparison_prompt, judging

TRIES = 3
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 10.0
"""Bounds of the wait between two tries. Who is told to wait longer gets the answer back at once, and waits outside."""

LONGEST_RETRY_AFTER_SECONDS = 600.0
"""A provider that asks for a longer wait is not taken at its word."""
SERVER_ERROR = 500
SETTING = "CJ_LLM_PROVIDER_SERVICE_URL"
_SUCCESS, _REDIRECTION = 2, 3
_NOT_TAKEN = frozenset({404, 405, 501})
"""Statuses of a provider that knows no such thing, or takes no such message."""
_RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Submission:
    """One attempt at one comparison, with all that the provider needs to judge it.

    ``essay_a_id`` is presented first. ``instructions`` is the task the students were given, as text.
    """

    correlation_id: UUID
    batch_id: str
    job_id: str
    essay_a_id: str
    essay_b_id: str
    text_a: str
    text_b: str
    instructions: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    is_retry: bool = False
    priority: int = 0
    batching_mode: str | None = None
    traceparent: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Return the HTTP headers that let the provider's traces and logs be found again."""
        headers = {"Content-Type": "application/json", "X-Correlation-ID": str(self.correlation_id)}
        return headers if self.traceparent is None else {**headers, "traceparent": self.traceparent}


class ProviderClient:
    """The provider's HTTP API at ``settings.llm_provider_service_url``, with or without ``/api/v1`` at its end.

    Use it as ``async with ProviderClient(settings) as provider``, or call ``close()``. ``clock`` returns seconds.
    ``told`` hears of troubles with a provider and model, and with None of their end; ``changed`` of their breakers.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        told: Callable[[str, Trouble | None], None] = lambda _scope, _trouble: None,
        changed: Callable[[BreakerChange], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._url = comparison_url(settings.llm_provider_service_url)
        self._session: aiohttp.ClientSession | None = None
        self.breakers = Breakers(
            clock,
            time.time,
            failures_to_open=settings.breaker_failures,
            recovery_seconds=settings.breaker_seconds,
            changed=changed,
            told=told,
        )

    def scope(self, overrides: Overrides) -> str:
        """Return the name of the provider and model that a batch with these overrides asks."""
        provider, model = self._asked(overrides)
        return scope_of(provider, model)

    def held_up(self, overrides: Overrides) -> HeldUp | None:
        """Return what holds up a batch with these overrides, None when its breaker is closed."""
        return self.breakers.held_up(self.scope(overrides))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the provider."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def submit(self, submission: Submission) -> ComparisonAnswer:
        """Submit the comparison, in up to three tries where the cause of a refusal can pass.

        Never raises for anything the provider or the network does. NotAccepted says by its kind whether asking
        again helps; "busy" includes a provider that could not be reached and an open circuit breaker.
        """
        body = self._body(submission)
        call = _Call(self.scope(submission.overrides), submission.batch_id, submission.headers)
        try:
            async for attempt in stamina.retry_context(
                on=_wait_before_retry,
                attempts=TRIES,
                timeout=None,
                wait_initial=FIRST_WAIT_SECONDS,
                wait_max=LONGEST_WAIT_SECONDS,
                wait_jitter=FIRST_WAIT_SECONDS,
            ):
                with attempt:
                    return await self._try(call, body)
        except _PassingError as passing:
            return passing.answer
        raise AssertionError("unreachable: the last try returns or raises")

    def _asked(self, overrides: Overrides) -> tuple[str, str | None]:
        defaults = self._settings
        return overrides.provider or defaults.default_llm_provider, overrides.model or defaults.default_llm_model

    def judging(self, overrides: Overrides, task: str | None) -> JudgingInstructions:
        """Return all that a batch with these overrides is asked with besides its texts."""
        provider, model = self._asked(overrides)
        temperature = self._settings.llm_temperature if overrides.temperature is None else overrides.temperature
        return judging(
            task=task,
            rubric=overrides.judge_rubric,
            provider=provider,
            model=model,
            temperature=temperature,
            max_tokens=overrides.max_tokens,
            system_prompt=overrides.system_prompt,
            reasoning_effort=overrides.reasoning_effort,
            output_verbosity=overrides.output_verbosity,
        )

    def _body(self, submission: Submission) -> bytes:
        overrides = submission.overrides
        prompt = comparison_prompt(
            text_a=submission.text_a,
            text_b=submission.text_b,
            correlation_id=submission.correlation_id,
            task=submission.instructions,
            rubric=overrides.judge_rubric,
        )
        defaults = self._settings
        provider, model = self._asked(overrides)
        request = ComparisonRequest(
            user_prompt=prompt.text,
            callback_topic=defaults.llm_provider_callback_topic,
            correlation_id=submission.correlation_id,
            provider=provider,
            model=model,
            # 0.0 is a temperature, not the lack of one.
            temperature=defaults.llm_temperature if overrides.temperature is None else overrides.temperature,
            max_tokens=overrides.max_tokens,
            system_prompt=overrides.system_prompt,
            reasoning_effort=overrides.reasoning_effort,
            output_verbosity=overrides.output_verbosity,
            metadata=echo_metadata(
                essay_a_id=submission.essay_a_id,
                essay_b_id=submission.essay_b_id,
                batch_id=submission.batch_id,
                job_id=submission.job_id,
                retry=submission.is_retry,
                priority=submission.priority,
                batching_mode=submission.batching_mode,
            ),
        )
        return json.dumps(comparison_request(request) | {"prompt_blocks": prompt.blocks()}).encode()

    async def _try(self, call: _Call, body: bytes) -> ComparisonAnswer:
        wait = self.breakers.admit(call.scope, call.batch_id)
        if wait > 0 and (held := self.breakers.held_up(call.scope)) is not None:
            return _not_sent(held, wait)
        try:
            status, answer = await self._post(call.headers, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            answer = _not_delivered(error)
            self.breakers.failed(call.scope, call.batch_id, answer.message, remedy_of(error, SETTING))
            trouble = str(self.breakers.trouble(call.scope))
            raise _PassingError(self._url, structs.replace(answer, message=clip(trouble, MESSAGE_LIMIT))) from error
        except BaseException:
            self.breakers.abandoned(call.scope)
            raise
        return self._judged(call, status, answer)

    def _judged(self, call: _Call, status: int, answer: ComparisonAnswer) -> ComparisonAnswer:
        """Tell the breaker, and raise _PassingError for what another try may mend."""
        if not isinstance(answer, NotAccepted):
            self.breakers.succeeded(call.scope)
            return answer
        # A request that can never succeed says nothing about the provider's health, whatever its status.
        if status >= SERVER_ERROR and answer.kind != "refused":
            self.breakers.failed(call.scope, call.batch_id, f"HTTP {status}: {answer.message}")
        elif (remedy := _remedy(status)) is not None:
            self.breakers.troubled(call.scope, call.batch_id, f"HTTP {status}: {answer.message}", remedy)
            return structs.replace(answer, message=_with_remedy(answer.message, remedy))
        else:
            self.breakers.succeeded(call.scope)
        if answer.kind != "refused" and status in _RETRIED_STATUSES:
            raise _PassingError(self._url, answer)
        return answer

    async def cancel_run(self, job_id: str) -> None:
        """Tell the provider that no answer for this run is wanted any more. Raises `ProviderUntold`.

        Whether it takes such a message at all is its own affair: 404, 405 and 501 are no error.
        """
        await self._delete("batch", job_id)

    async def cancel_comparison(self, correlation_id: UUID) -> None:
        """Tell the provider that the answer to one comparison is not wanted any more. Raises `ProviderUntold`."""
        await self._delete("comparison", str(correlation_id))

    async def _delete(self, what: str, name: str) -> None:
        url = f"{self._url.removesuffix('/comparison')}/{what}/{quote(name, safe='')}"
        try:
            # The id is escaped already: a second time would name another one.
            async with self._open().delete(URL(url, encoded=True), allow_redirects=False) as response:
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ProviderUntold(f"DELETE {url} failed: {type(error).__name__} {error}".rstrip()) from error
        if status // 100 != _SUCCESS and status not in _NOT_TAKEN:
            raise ProviderUntold(f"DELETE {url} was answered with status {status}", passes=status in _RETRIED_STATUSES)

    async def _post(self, headers: Mapping[str, str], body: bytes) -> tuple[int, ComparisonAnswer]:
        asking = self._open().post(self._url, data=body, headers=headers, allow_redirects=False)
        async with asking as response:
            answer = await _answer(response)
            if isinstance(answer, NotAccepted):
                answer = _bounded_wait(_discreet(answer, body), response.headers.get("Retry-After", ""))
            return response.status, answer

    def _open(self) -> aiohttp.ClientSession:
        # aiohttp binds a session to the running loop, so it cannot be made in the constructor.
        if self._session is None:
            total = self._settings.submission_timeout_seconds
            # A connection that cannot be made has to be told from an answer that does not come.
            timeout = aiohttp.ClientTimeout(total=total, sock_connect=total / 2)
            connector = aiohttp.TCPConnector(limit=self._settings.submission_workers)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self._session


async def _answer(response: aiohttp.ClientResponse) -> ComparisonAnswer:
    try:
        return read_response(response.status, await body_of(response, ANSWER_LIMIT))
    except RedirectedError as redirected:
        return redirected_answer(
            f"{redirected}. Redirects are not followed: set CJ_LLM_PROVIDER_SERVICE_URL to the provider's own address"
        )
    except AnswerTooLargeError as too_large:
        return unreadable_answer(response.status, str(too_large))


def _remedy(status: int) -> str | None:
    if status // 100 == _REDIRECTION:
        return f"set {SETTING} to the provider's own address"
    return remedy_for(status, SETTING)


def _with_remedy(message: str, remedy: str) -> str:
    """Return a message of an error with what to do, the message cut if need be."""
    return message if SETTING in message else with_remedy(clip(message, MESSAGE_LIMIT - len(remedy) - 50), remedy)


def comparison_url(base: str) -> str:
    """Return the address comparisons are posted to, for a base that ends in ``/api/v1`` or does not."""
    return base.rstrip("/").removesuffix("/api/v1") + "/api/v1/comparison"


class _Call(NamedTuple):
    """Whom a submission asks, and for which batch."""

    scope: str
    batch_id: str
    headers: Mapping[str, str]


class ProviderUntold(Exception):  # noqa: N818 -- a state of the provider rather than a mistake
    """The provider could not be told that something is not wanted any more; ``passes``: another try may succeed."""

    def __init__(self, why: str, *, passes: bool = True) -> None:
        super().__init__(why)
        self.passes = passes


class _PassingError(Exception):
    """An answer that the next try may change."""

    def __init__(self, address: str, answer: NotAccepted) -> None:
        super().__init__(f"{address} {answer.code}: {answer.message}")
        self.answer = answer


def _wait_before_retry(error: Exception) -> bool | float:
    """Return stamina's decision: False for no further try, True for its own wait, a number of seconds to wait."""
    if not isinstance(error, _PassingError):
        return False
    wait = error.answer.retry_after_seconds
    if wait is None:
        return True
    return wait if wait <= LONGEST_WAIT_SECONDS else False


def _not_sent(held: HeldUp, wait: float) -> NotAccepted:
    return NotAccepted(
        kind="busy",
        code="CIRCUIT_BREAKER_OPEN",
        message=f"after several failures in a row nothing is sent to {held.scope} before the next probe at "
        f"{iso_time(held.next_probe_at)}. The last failure, of batch {held.batch_id}: {held.why}",
        retry_after_seconds=wait,
    )


def _not_delivered(error: Exception) -> NotAccepted:
    never_left = isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
    timed_out = isinstance(error, TimeoutError) and not never_left
    return NotAccepted(
        kind="busy" if never_left else "failed",
        code="TIMEOUT" if timed_out else "CONNECTION_ERROR",
        message=f"{type(error).__name__} {error}".rstrip(),
    )


def _discreet(answer: NotAccepted, body: bytes) -> NotAccepted:
    """Return the answer without what it quotes of the prompt in the body that it is about."""
    prompt: str = json.loads(body)["user_prompt"]
    return structs.replace(answer, message=without_echo(answer.message, prompt), code=without_echo(answer.code, prompt))


def _bounded_wait(answer: NotAccepted, header: str) -> NotAccepted:
    """Return the answer with the wait of its body, else of the Retry-After header, within bounds."""
    wait = answer.retry_after_seconds
    if wait is None and header.isascii() and header.isdigit():
        wait = float(header)
    if wait is None:
        return answer
    return structs.replace(answer, retry_after_seconds=min(wait, LONGEST_RETRY_AFTER_SECONDS))
