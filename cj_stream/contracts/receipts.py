"""What comes with an answer besides the verdict or the error: tokens, cost, the model's own words, an error's origin.

Nothing depends on any of it, so what cannot be read is read past, and what is long is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from cj_stream.contracts.fields import IDENTIFIER_LIMIT
from cj_stream.domain.records import Receipt
from cj_stream.engine.texts import clip

RAW_KEPT = 2_000
"""Characters kept of a model's raw answer, and of the details of an error."""
FLAGS_KEPT = 10
_LARGEST_COUNT = 10**12
_LARGEST_COST = 1e6
_NOTHING: Mapping[str, Any] = {}


def read_receipt(data: Mapping[str, Any], *, failed: bool) -> Receipt | None:
    """Return the receipt in the ``data`` of a callback, or in an answer of its form; None where it tells nothing."""
    metadata, usage = _object(data, "request_metadata"), _object(data, "token_usage")
    tokens_in, tokens_out = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    cost = _cost(data.get("cost_estimate"), metadata)
    raw, flags = _text(metadata, "raw_llm_response", RAW_KEPT), _flags(metadata.get("flags"))
    if not failed:
        if not (tokens_in or tokens_out or raw or flags) and cost is None:
            return None
        return Receipt(input_tokens=tokens_in, output_tokens=tokens_out, cost=cost, raw_llm_response=raw, flags=flags)
    error = _object(data, "error_detail")
    details = _object(error, "details")
    return Receipt(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cost=cost,
        raw_llm_response=raw,
        flags=flags,
        error_service=_text(error, "service", IDENTIFIER_LIMIT),
        error_timestamp=_text(error, "timestamp", IDENTIFIER_LIMIT),
        error_correlation_id=_text(error, "correlation_id", IDENTIFIER_LIMIT),
        error_details=clip(msgspec.json.encode(details).decode(), RAW_KEPT) if details else None,
    )


def _object(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else _NOTHING


def _count(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if type(value) is int and 0 < value <= _LARGEST_COUNT else 0


def _cost(value: object, metadata: Mapping[str, Any]) -> float | None:
    """Return a cost in US dollars. Of providers that do not say whether they know a price, 0 is no price."""
    known = metadata.get("cost_known")
    if known is False or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A number of any size is legal JSON.
    if not 0 <= value <= _LARGEST_COST or not isfinite(value):
        return None
    return float(value) if value > 0 or known is True else None


def _text(data: Mapping[str, Any], name: str, limit: int) -> str | None:
    value = data.get(name)
    return clip(value, limit) if isinstance(value, str) and value else None


def _flags(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(clip(flag, IDENTIFIER_LIMIT) for flag in value[:FLAGS_KEPT] if isinstance(flag, str) and flag)
