"""Chat completions, the interface of OpenAI that most endpoints speak: what is sent, with the official SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.gateway.models.forms import SCHEMA, TOOL, Form, system_text
from cj_stream.gateway.models.ladder import LENGTHS, Rung
from cj_stream.gateway.models.replies import Reply, read_chat
from cj_stream.gateway.models.sdk import Create, SdkEndpoint

ADDRESS = "https://api.openai.com/v1"
FORMS = (Form.JSON_SCHEMA, Form.TOOL, Form.JSON_OBJECT, Form.TEXT)


class Chat(SdkEndpoint):
    """An endpoint for chat completions at ``address``."""

    sdk = "openai"
    client = "AsyncOpenAI"

    def first_rung(self) -> Rung:
        """Return what is sent before anything is known about the endpoint."""
        return Rung(FORMS, length=LENGTHS[1] if self._address == ADDRESS else LENGTHS[0])

    def body(self, model: str, request: ComparisonRequest, rung: Rung, most_tokens: int) -> dict[str, Any]:
        """Return the parameters of a call."""
        body: dict[str, Any] = {"model": model, "messages": _messages(request, rung)}
        if rung.length is not None:
            body[rung.length] = most_tokens
        chosen = {
            "temperature": request.temperature,
            "reasoning_effort": request.reasoning_effort,
            "verbosity": request.output_verbosity,
        }
        body |= {name: value for name, value in chosen.items() if value is not None and rung.sends(name)}
        return body | _form(rung.form)

    def create(self, client: Any) -> Create:
        """Return what makes a call and returns the raw answer."""
        made: Create = client.chat.completions.with_raw_response.create
        return made

    def read(self, document: Mapping[str, Any]) -> Reply:
        """Return what the document says. Raises NoDecisionError."""
        return read_chat(document)


def _messages(request: ComparisonRequest, rung: Rung) -> list[dict[str, str]]:
    system = system_text(request.system_prompt, rung.form)
    if not rung.sends("system"):
        return [{"role": "user", "content": f"{system}\n\n{request.user_prompt}"}]
    return [{"role": "system", "content": system}, {"role": "user", "content": request.user_prompt}]


def _form(form: Form) -> dict[str, Any]:
    if form is Form.JSON_SCHEMA:
        schema = {"name": TOOL, "strict": True, "schema": SCHEMA}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if form is Form.TOOL:
        function = {"name": TOOL, "description": "Give the verdict.", "parameters": SCHEMA, "strict": True}
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": TOOL}},
        }
    return {"response_format": {"type": "json_object"}} if form is Form.JSON_OBJECT else {}
