"""Chat completions, the interface of OpenAI that most endpoints speak: what is sent, with the official SDK."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.gateway.models.connection import Heard, failure_of, heard, http_client
from cj_stream.gateway.models.forms import SCHEMA, TOOL, Form, system_text
from cj_stream.gateway.models.ladder import LENGTHS, Rung
from cj_stream.gateway.models.replies import Reply, read_chat

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ADDRESS = "https://api.openai.com/v1"
FORMS = (Form.JSON_SCHEMA, Form.TOOL, Form.JSON_OBJECT, Form.TEXT)


class Chat:
    """An endpoint for chat completions at ``address``. No call is repeated by the SDK."""

    def __init__(self, address: str, key: str, timeout_seconds: float) -> None:
        self._address = address
        self._key = key
        self._timeout = timeout_seconds
        self._client: AsyncOpenAI | None = None

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

    async def call(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Heard:
        """Return the endpoint's answer, of whatever status. Raises UnavailableError and TooLargeError."""
        client = self.open()
        from openai import APIConnectionError, APIStatusError  # noqa: PLC0415 -- of an extra

        try:
            answer = await client.chat.completions.with_raw_response.create(**body, extra_headers=headers)
        except APIStatusError as error:
            return heard(error.response)
        except APIConnectionError as error:
            raise failure_of(error) from error
        return heard(answer.http_response)

    def read(self, document: Mapping[str, Any]) -> Reply:
        """Return what the document says. Raises NoDecisionError."""
        return read_chat(document)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    def open(self) -> AsyncOpenAI:
        """Return the client. The first time takes a moment: the SDK is imported, and certificates are loaded."""
        if self._client is None:
            from openai import AsyncOpenAI  # noqa: PLC0415 -- of an extra

            # Its debug log holds what is sent.
            logging.getLogger("openai").setLevel(logging.WARNING)
            self._client = AsyncOpenAI(
                api_key=self._key,
                base_url=self._address,
                max_retries=0,
                timeout=self._timeout,
                http_client=http_client(self._timeout),
            )
        return self._client


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
