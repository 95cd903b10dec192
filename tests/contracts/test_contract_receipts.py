"""What comes with an answer besides the verdict or the error."""

from __future__ import annotations

from typing import Any

import pytest
from support.wire.contract_samples import document, encoded

from cj_stream.contracts.callback_reader import read_callback, read_leniently, read_plain
from cj_stream.contracts.receipts import FLAGS_KEPT, RAW_KEPT, read_receipt
from cj_stream.domain.records import Receipt

USAGE = {"prompt_tokens": 1700, "completion_tokens": 250, "total_tokens": 1950}


def test_tokens_cost_raw_answer_and_flags_of_a_verdict_are_kept() -> None:
    metadata = {"raw_llm_response": "Essay A.", "flags": ["instruction_in_first"], "cost_known": True}
    data = {"token_usage": USAGE, "cost_estimate": 0.0125, "request_metadata": metadata}
    assert read_receipt(data, failed=False) == Receipt(
        input_tokens=1700,
        output_tokens=250,
        cost=0.0125,
        raw_llm_response="Essay A.",
        flags=("instruction_in_first",),
    )


def test_where_an_error_is_from_is_kept() -> None:
    error = {
        "error_code": "TIMEOUT",
        "service": "llm_provider_service",
        "timestamp": "2026-01-31T00:00:00Z",
        "correlation_id": "00000000-0000-0000-0000-000000000000",
        "details": {"model": "x"},
    }
    found = read_receipt({"error_detail": error, "cost_estimate": 0}, failed=True)
    assert found == Receipt(
        error_service="llm_provider_service",
        error_timestamp="2026-01-31T00:00:00Z",
        error_correlation_id="00000000-0000-0000-0000-000000000000",
        error_details='{"model":"x"}',
    )


@pytest.mark.parametrize(
    ("cost", "known", "kept"),
    [
        (0.0, None, None),
        (0.0, True, 0.0),
        (0.0, False, None),
        (0.5, False, None),
        (0.5, None, 0.5),
        (1, None, 1.0),
        (True, True, None),
        ("0.5", None, None),
        (-1, True, None),
        (10**400, True, None),
        (1e300, True, None),
    ],
)
def test_only_a_known_price_is_a_price(cost: object, known: object, kept: float | None) -> None:
    receipt = read_receipt({"cost_estimate": cost, "request_metadata": {"cost_known": known}}, failed=False)
    assert (receipt.cost if receipt else None) == kept


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"token_usage": 7, "request_metadata": "x", "cost_estimate": []},
        {"token_usage": {"prompt_tokens": -1, "completion_tokens": "2"}},
        {"request_metadata": {"raw_llm_response": {"a": 1}, "flags": "x"}},
    ],
)
def test_what_cannot_be_read_tells_nothing(data: dict[str, Any]) -> None:
    assert read_receipt(data, failed=False) is None


def test_what_is_long_is_cut() -> None:
    metadata = {"raw_llm_response": "x" * 100_000, "flags": ["y"] * 1_000}
    found = read_receipt({"request_metadata": metadata, "error_detail": {"details": {"z": "z" * 100_000}}}, failed=True)
    assert found is not None
    assert len(found.raw_llm_response or "") <= RAW_KEPT
    assert len(found.error_details or "") <= RAW_KEPT
    assert len(found.flags) == FLAGS_KEPT


@pytest.mark.parametrize("name", ["callback_essay_b.json", "callback_error_timeout.json", "callback_no_metadata.json"])
def test_both_readers_find_the_same_receipt(name: str) -> None:
    found = document(name)
    found["data"]["token_usage"] = USAGE
    read = read_callback(encoded(found))
    assert read.receipt is not None
    assert read.receipt.input_tokens == 1700
    assert read_plain(found) in (None, read)
    assert read_leniently(found).receipt == read.receipt
