"""Messages, the interface of Anthropic: what is sent, with the official SDK."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.gateway.models.connection import Heard, failure_of, heard, http_client
from cj_stream.gateway.models.forms import SCHEMA, TOOL, Form, system_text
from cj_stream.gateway.models.ladder import LENGTHS, Rung
from cj_stream.gateway.models.replies import Reply, read_message

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

ADDRESS = "https://api.anthropic.com"
FORMS = (Form.JSON_SCHEMA, Form.TOOL, Form.TEXT)


class Messages:
    """An endpoint for messages at ``address``. No call is repeated by the SDK."""

    def __init__(self, address: str, key: str, timeout_seconds: float) -> None:
        self._address = address
        self._key = key
        self._timeout = timeout_seconds
        self._client: AsyncAnthropic | None = None

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

    async def call(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Heard:
        """Return the endpoint's answer, of whatever status. Raises UnavailableError and TooLargeError."""
        client = self.open()
        from anthropic import APIConnectionError, APIStatusError  # noqa: PLC0415 -- of an extra

        try:
            answer = await client.messages.with_raw_response.create(**body, extra_headers=headers)
        except APIStatusError as error:
            return heard(error.response)
        except APIConnectionError as error:
            raise failure_of(error) from error
        return heard(answer.http_response)

    def read(self, document: Mapping[str, Any]) -> Reply:
        """Return what the document says. Raises NoDecisionError."""
        return read_message(document)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    def open(self) -> AsyncAnthropic:
        """Return the client. The first time takes a moment: the SDK is imported, and certificates are loaded."""
        if self._client is None:
            from anthropic import AsyncAnthropic  # noqa: PLC0415 -- of an extra

            # Its debug log holds what is sent.
            logging.getLogger("anthropic").setLevel(logging.WARNING)
            self._client = AsyncAnthropic(
                api_key=self._key,
                base_url=self._address,
                max_retries=0,
                timeout=self._timeout,
                http_client=http_client(self._timeout),
            )
        return self._client


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
