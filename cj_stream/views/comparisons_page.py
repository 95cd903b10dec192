"""The comparisons of a batch, page by page."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from cj_stream.domain.batch import Batch
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.records import Comparison, ComparisonStatus, Receipt
from cj_stream.engine.times import iso_time_or_none


def comparisons_page(
    batch: Batch,
    status: ComparisonStatus | None,
    offset: int,
    limit: int,
    *,
    partition: int,
    correlation_ids: CorrelationIds,
) -> dict[str, Any]:
    """Return ``limit`` comparisons from ``offset`` on, of one status or of any; ``total`` counts all of that status."""
    rows = [row for row in batch.comparisons if status is None or row.status is status]

    def shown(row: Comparison) -> dict[str, Any]:
        pair = batch.essay_ids(row.index)
        request = correlation_ids.make(
            partition=partition,
            batch_id=batch.batch_id,
            run=batch.run,
            index=row.index,
            attempt=row.attempt,
            pair=pair,
        )
        return _comparison(row, row.index // batch.pairs_per_iteration + 1, pair, request)

    return {
        "batch_id": batch.batch_id,
        "run": batch.run,
        "total": len(rows),
        "offset": offset,
        "comparisons": [shown(row) for row in rows[offset : offset + limit]],
    }


def _comparison(row: Comparison, iteration: int, pair: tuple[str, str], request: UUID) -> dict[str, Any]:
    return {
        "index": row.index,
        "iteration": iteration,
        "essay_a_id": pair[0],
        "essay_b_id": pair[1],
        "status": row.status.name,
        "attempt": row.attempt,
        "request_correlation_id": str(request),
        "submitted_at": iso_time_or_none(row.submitted_at),
        "completed_at": iso_time_or_none(row.completed_at),
        "winner": None if row.winner is None else f"Essay {row.winner}",
        "confidence": row.confidence,
        "justification": row.justification,
        "expected_wait_seconds": row.expected_wait,
        "provider": row.provider,
        "model": row.model,
        "error_code": row.error_code,
        "error_message": row.error_message,
        **_receipt(row.receipt or Receipt()),
    }


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        "error_service": receipt.error_service,
        "error_timestamp": receipt.error_timestamp,
        "error_correlation_id": receipt.error_correlation_id,
        "error_details": receipt.error_details,
        "raw_llm_response": receipt.raw_llm_response,
        "flags": list(receipt.flags),
        "input_tokens": receipt.input_tokens,
        "output_tokens": receipt.output_tokens,
        "cost": receipt.cost,
        "earlier_cost": receipt.earlier_cost,
        "reused": receipt.reused,
    }
