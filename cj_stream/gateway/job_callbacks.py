"""The callbacks of the gateway: a verdict or an error, with what it cost. The same answer has the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, UUID, uuid5

from cj_stream.contracts.callback_writer import write_callback
from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.gateway.jobs import Job
from cj_stream.gateway.judges import Answer, Failure, Verdict

UNKNOWN_MODEL = "unknown"


def queue_id(job_id: str) -> str:
    """Return the id that the provider's API gives to a job; a repeat of the request gets the same."""
    return str(uuid5(NAMESPACE_OID, f"gateway/{job_id}"))


def answer_callback(job_id: str, job: Job, request: ComparisonRequest, answer: Answer, at: float) -> bytes:
    """Return the callback of what the judge said at ``at``."""
    verdict = answer if isinstance(answer, Verdict) else None
    failure = answer if isinstance(answer, Failure) else None
    usage = answer.usage
    return write_callback(
        correlation_id=UUID(job_id),
        request_id=queue_id(job_id),
        winner=verdict.winner if verdict else None,
        confidence=verdict.confidence if verdict else None,
        justification=verdict.justification if verdict else None,
        error_code=failure.code if failure else None,
        error_message=failure.message if failure else None,
        provider=answer.provider or job.provider,
        model=answer.model or request.model or UNKNOWN_MODEL,
        requested_at=_moment(job.accepted_at),
        completed_at=_moment(at),
        response_time_ms=round((at - job.accepted_at) * 1000),
        request_metadata={**job.metadata, **_told(answer, job, request)},
        tokens=(usage.input_tokens, usage.output_tokens) if usage else (0, 0),
        cost=answer.cost or 0.0,
    )


def error_callback(job_id: str, job: Job, code: str, message: str, at: float) -> bytes:
    """Return the callback of a job for which no judge is asked, or not again."""
    return write_callback(
        correlation_id=UUID(job_id),
        request_id=queue_id(job_id),
        winner=None,
        confidence=None,
        justification=None,
        error_code=code,
        error_message=message,
        provider=job.provider,
        model=UNKNOWN_MODEL,
        requested_at=_moment(job.accepted_at),
        completed_at=_moment(at),
        response_time_ms=0,
        # What no call was made for has cost nothing; what calls without an answer have cost nobody knows.
        request_metadata={**job.metadata, "gateway_calls": job.paid, "cost_known": job.paid == 0},
    )


def _told(answer: Answer, job: Job, request: ComparisonRequest) -> Mapping[str, object]:
    """Return what is told beside the answer; the raw answer is what the model said, and may quote the texts."""
    told: dict[str, object] = {
        "prompt_sha256": hashlib.sha256(request.user_prompt.encode()).hexdigest(),
        "resolved_provider": answer.provider or job.provider,
        "resolved_model": answer.model or request.model or UNKNOWN_MODEL,
        "gateway_calls": job.paid,
        "cost_known": answer.cost is not None,
    }
    if answer.usage is not None:
        told["usage"] = {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens}
    if answer.raw is not None:
        told["raw_llm_response"] = answer.raw
    if answer.flags:
        told["flags"] = list(answer.flags)
    return told


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
