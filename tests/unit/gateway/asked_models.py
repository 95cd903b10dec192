"""Judges that ask a `FakeEndpoint`, and questions for them with essays of a known quality."""

from __future__ import annotations

from typing import Literal
from uuid import UUID, uuid4

from support.http.fake_endpoint import FakeEndpoint, Family
from support.wire.questions import question

from cj_stream.gateway.judges import Question
from cj_stream.gateway.models.judge import ModelJudge
from cj_stream.gateway.models.options import OPTIONS, model_judge
from cj_stream.gateway.options import Options
from cj_stream.provider.prompts import comparison_prompt

KEY = "sk-secret-of-the-test"
ENVIRONMENT = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}


def judge_at(endpoint: FakeEndpoint, family: Family = "chat", **options: object) -> ModelJudge:
    """Return a judge that asks the endpoint for ``a-model``."""
    address = f"{endpoint.url}/v1" if family == "chat" else endpoint.url
    chosen = {"model": "a-model", "base_url": address} | options
    text = ",".join(f"{name}={value}" for name, value in chosen.items())
    kind: Literal["openai", "anthropic"] = "openai" if family == "chat" else "anthropic"
    return model_judge(kind, Options(text, OPTIONS, 0), ENVIRONMENT)


def asked(
    text_a: str = "quality 1", text_b: str = "quality 2", *, correlation_id: UUID | None = None, **request: object
) -> Question:
    """Return the question about two texts, with the prompt that a worker sends."""
    own_id = correlation_id or uuid4()
    prompt = comparison_prompt(text_a=text_a, text_b=text_b, correlation_id=own_id)
    return question("a", "b", user_prompt=prompt.text, correlation_id=own_id, **request)
