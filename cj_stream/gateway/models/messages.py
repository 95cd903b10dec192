"""Messages, the interface of Anthropic: what is sent, with the official SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.gateway.models.forms import SCHEMA, TOOL, Form, system_text
from cj_stream.gateway.models.ladder import LENGTHS, Rung
from cj_stream.gateway.models.replies import Reply, read_message
from cj_stream.gateway.models.sdk import Create, SdkEndpoint

ADDRESS = "https://api.anthropic.com"
FORMS = (Form.JSON_SCHEMA, Form.TOOL, Form.TEXT)


class Messages(SdkEndpoint):
    """An endpoint for messages at ``address``."""

    sdk = "anthropic"
    client = "AsyncAnthropic"

    def first_rung(self) -> Rung:
        """Return what is sent before anything is known about the endpoint."""
        return Rung(FORMS, length=LENGTHS[0], length_is_needed=True)

    def body(self, model: str, request: ComparisonRequest, rung: Rung, most_tokens: int) -> dict[str, Any]:
        """Return the parameters of a call."""
        system = system_text(request.system_prompt, rung.form)
        prompt = request.user_prompt if rung.sends("system") else f"{system}\n\n{request.user_prompt}"
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": most_tokens,
            "messages": [{"role": "user", "content": prompt}],
        }
        if rung.sends("system"):
            body["system"] = system
        if request.temperature is not None and rung.sends("temperature"):
            # The SDK no longer names it, older models take it. The scale ends at 1 here.
            body["extra_body"] = {"temperature": min(request.temperature, 1.0)}
        return body | _form(request, rung)

    def create(self, client: Any) -> Create:
        """Return what makes a call and returns the raw answer."""
        made: Create = client.messages.with_raw_response.create
        return made

    def read(self, document: Mapping[str, Any]) -> Reply:
        """Return what the document says. Raises NoDecisionError."""
        return read_message(document)


def _form(request: ComparisonRequest, rung: Rung) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if rung.form is Form.JSON_SCHEMA:
        config["format"] = {"type": "json_schema", "schema": SCHEMA}
    if request.reasoning_effort not in (None, "none") and rung.sends("reasoning_effort"):
        config["effort"] = request.reasoning_effort
    form: dict[str, Any] = {"output_config": config} if config else {}
    if rung.form is Form.TOOL:
        form["tools"] = [{"name": TOOL, "description": "Give the verdict.", "input_schema": SCHEMA}]
        form["tool_choice"] = {"type": "tool", "name": TOOL}
    return form
