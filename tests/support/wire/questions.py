"""Questions for judges, without an HTTP request around them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.gateway.judges import Question


def question(first: str, second: str, **request: Any) -> Question:
    """Return the question about two essays; ``request`` changes fields of the request for it."""
    fields: dict[str, Any] = {
        "user_prompt": "Which is better?",
        "callback_topic": "callbacks",
        "provider": "mock",
        "correlation_id": uuid4(),
        "metadata": {"essay_a_id": first, "essay_b_id": second},
    }
    return Question(first, second, ComparisonRequest(**{**fields, **request}))
