"""What a batch will cost, before it is asked for: comparisons from plays in memory, prices from the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID

import aiohttp
from msgspec.structs import replace

from cj_stream.agents.requests import requested
from cj_stream.cli.batches.new_request import EssayText, Wishes, not_stored
from cj_stream.content.client import ContentClient
from cj_stream.contracts.judge_terms import TERMS_LIMIT, Terms, read_terms
from cj_stream.contracts.refusal import Refused
from cj_stream.domain.batch import Batch
from cj_stream.domain.policy import Policy
from cj_stream.domain.rehearsal import rehearsed
from cj_stream.engine.foreign_answers import UnusableAnswerError, body_of
from cj_stream.operations.batch_policy import policy_of
from cj_stream.operations.settings import Settings
from cj_stream.provider.client import SETTING as ADDRESS
from cj_stream.provider.client import comparison_url
from cj_stream.provider.prompts import comparison_prompt

PLAYS = 9
FEW_CALLS = 10
"""Calls from which a judge's tokens are known well enough."""
_ESSAYS_PLAYED = 2_000
"""Essays of all plays together, so that a large batch is not played for minutes."""
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_OK = 200
_ANY_ID = UUID(int=0)


class NoTermsError(Exception):
    """The provider does not tell what a comparison costs; the message says why, and what to do."""


class Estimate(NamedTuple):
    """What a batch is expected to take; costs in US dollars, None where a price is unknown."""

    essays: int
    comparisons: int
    most_comparisons: int
    prompt_bytes: float
    """The mean of a comparison's prompt."""
    cost: float | None
    most_cost: float | None
    terms: Terms


async def estimated(settings: Settings, texts: Sequence[EssayText], wishes: Wishes) -> Estimate:
    """Return the estimate. Raises NoTermsError, Refused for a request that is not taken, ContentError for a text."""
    request = requested(not_stored(settings, texts, wishes))
    terms = await _terms(settings, wishes.model)
    sizes = await _sizes(settings, texts)
    policy = policy_of(settings)
    plays = [await asyncio.to_thread(rehearsed, request, policy, seed=seed) for seed in range(_plays(len(texts)))]
    longest = await asyncio.to_thread(rehearsed, request, _without_end(policy), seed=0)
    counts = [play.total_comparisons for play in plays]
    comparisons, most = round(median(counts)), max(longest.total_comparisons, *counts)
    prompt_bytes = _bare_bytes(wishes) + fmean(_pair_bytes(play, sizes) for play in plays)
    return Estimate(
        essays=len(texts),
        comparisons=comparisons,
        most_comparisons=most,
        prompt_bytes=prompt_bytes,
        cost=terms.cost(prompt_bytes=prompt_bytes, comparisons=comparisons),
        most_cost=terms.cost(prompt_bytes=prompt_bytes, comparisons=most),
        terms=terms,
    )


def told(estimate: Estimate) -> list[str]:
    """Return the estimate in lines for people."""
    terms = estimate.terms
    given = (estimate.prompt_bytes + terms.overhead_bytes) / terms.bytes_per_token
    lines = [
        f"{estimate.essays} essays: about {estimate.comparisons} comparisons, at most {estimate.most_comparisons}",
        f"of {terms.provider}/{terms.model}, each about {given:.0f} tokens in and {terms.output_tokens:.0f} out",
    ]
    if estimate.cost is None or estimate.most_cost is None:
        lines.append("cost: unknown, since nobody knows the price; say it to the gateway with price_in and price_out")
    else:
        lines.append(f"cost: about ${estimate.cost:.2f}, at most ${estimate.most_cost:.2f}")
    if estimate.cost and terms.calls < FEW_CALLS:
        lines.append(
            f"the tokens are a guess after {terms.calls} calls of this judge, and may be wrong by a third: "
            f"from {FEW_CALLS} calls on they are measured"
        )
    return lines


def _plays(essays: int) -> int:
    return max(1, min(PLAYS, _ESSAYS_PLAYED // essays))


def _without_end(policy: Policy) -> Policy:
    """Return the policy of a batch that nothing ends early."""
    return replace(policy, reliability_target=1.0, judging=replace(policy.judging, stop_rules=()))


def _bare_bytes(wishes: Wishes) -> int:
    bare = comparison_prompt(text_a="", text_b="", correlation_id=_ANY_ID, task=wishes.task)
    return len(bare.text.encode())


def _pair_bytes(play: Batch, sizes: Mapping[str, int]) -> float:
    """Return the mean bytes of both texts of a comparison."""
    pairs = (play.essay_ids(index) for index in range(play.total_comparisons))
    return fmean([sizes[first] + sizes[second] for first, second in pairs] or [0])


async def _sizes(settings: Settings, texts: Sequence[EssayText]) -> dict[str, int]:
    async with ContentClient(settings) as content:
        return {text.essay_id: len((text.text or await content.text(text.storage_id or "")).encode()) for text in texts}


async def _terms(settings: Settings, model: str | None) -> Terms:
    name = quote(model or settings.default_llm_model or "default", safe="")
    url = comparison_url(settings.llm_provider_service_url).removesuffix("comparison") + f"judges/{name}"
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            body = await body_of(answer, TERMS_LIMIT)
            if answer.status != _OK:
                raise NoTermsError(f"{url} answers {answer.status}: only cj-stream's own gateway tells its prices")
            return read_terms(body)
    except (UnusableAnswerError, Refused) as error:
        raise NoTermsError(f"{url} answers with something else ({error}): set {ADDRESS} to the gateway") from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise NoTermsError(f"{url} does not answer ({error}): start the gateway, or set {ADDRESS}") from error
