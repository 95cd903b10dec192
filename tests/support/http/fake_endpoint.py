"""A model endpoint on loopback: chat completions and messages as the two providers serve them, with faults on demand.

It judges by the number after ``quality`` in each essay, counts tokens by a rule of its own, and keeps all that it was
asked. Run it by itself with ``python tests/support/http/fake_endpoint.py --port 8099``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

from aiohttp import web

from cj_stream.contracts.boundaries import essays_in

Family = Literal["chat", "messages"]
Fault = Callable[["Asked"], Awaitable[web.StreamResponse | None]]
_QUALITY = re.compile(r"quality (-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; ``number`` counts from 0."""

    number: int
    family: Family
    body: dict[str, Any]
    headers: Mapping[str, str]
    http: web.Request

    @property
    def prompt(self) -> str:
        """The user's message."""
        found = next(message for message in self.body["messages"] if message["role"] == "user")
        return str(found["content"])

    @property
    def correlation_id(self) -> str:
        """The correlation id of the header."""
        return self.headers.get("X-Correlation-ID", "")


@dataclass
class Manners:
    """How the endpoint behaves; change it while it runs."""

    refused: dict[str, str] = field(default_factory=dict)
    """Parameters that are answered with 400, and the message; dots go into objects: ``response_format.type``."""
    bytes_per_token: float = 4.0
    output_tokens: Callable[[Asked], int] = lambda _: 40
    answer: Callable[[Asked], str] | None = None
    """The text that the model says, instead of the verdict in the form asked for."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the answer that are replaced; dots go into objects, numbers into lists."""
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    """Answers in place of the endpoint, when it returns an answer."""
    seconds: float = 0.0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class FakeEndpoint:
    """Use it as ``async with FakeEndpoint() as endpoint``; ``url`` is its address without ``/v1``."""

    def __init__(self, *, port: int = 0, **manners: Any) -> None:
        self.manners = Manners(**manners)
        self.asked: list[Asked] = []
        self.too_many = 0
        """Requests answered with 429."""
        self.tokens = 0
        self.judged: list[tuple[float, str, int]] = []
        """Of each verdict the time, the correlation id and the tokens."""
        self.url = ""
        self._port = port
        self._window: deque[tuple[float, int]] = deque()
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/messages", self._messages)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The bodies of all requests."""
        return [asked.body for asked in self.asked]

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        return await self._answer("chat", http)

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        return await self._answer("messages", http)

    async def _answer(self, family: Family, http: web.Request) -> web.StreamResponse:
        asked = Asked(len(self.asked), family, await http.json(), http.headers, http)
        self.asked.append(asked)
        manners = self.manners
        if manners.fault is not None and (answer := await manners.fault(asked)) is not None:
            return answer
        for name, message in manners.refused.items():
            if _has(asked.body, name):
                return error(400, message, parameter=name if family == "chat" else None, family=family)
        given = max(1, round(len(json.dumps(asked.body, ensure_ascii=False).encode()) / manners.bytes_per_token))
        answered = manners.output_tokens(asked)
        if (wait := self._wait(given + answered)) > 0:
            self.too_many += 1
            return error(429, "Rate limit reached", family=family, headers={"Retry-After": f"{wait:.3f}"})
        await asyncio.sleep(manners.seconds)
        self.tokens += given + answered
        self.judged.append((time.time(), asked.correlation_id, given + answered))
        text = manners.answer(asked) if manners.answer else None
        document = (_completion if family == "chat" else _message)(asked, text, given, answered)
        for path, value in manners.changes.items():
            _change(document, path.split("."), value)
        return web.json_response(document, headers=manners.headers | self._headers(family))

    def _wait(self, tokens: int) -> float:
        """Take a request into the last minute, or return how long it has to wait for that."""
        now = time.monotonic()
        while self._window and self._window[0][0] <= now - 60:
            self._window.popleft()
        requests, used = len(self._window), sum(count for _, count in self._window)
        over_requests = self.manners.requests_per_minute is not None and requests >= self.manners.requests_per_minute
        over_tokens = self.manners.tokens_per_minute is not None and used + tokens > self.manners.tokens_per_minute
        if over_requests or over_tokens:
            return self._window[0][0] + 60 - now if self._window else 60.0
        self._window.append((now, tokens))
        return 0.0

    def _headers(self, family: Family) -> dict[str, str]:
        numbers = {"requests": self.manners.requests_per_minute, "tokens": self.manners.tokens_per_minute}
        form = "x-ratelimit-limit-{}" if family == "chat" else "anthropic-ratelimit-{}-limit"
        return {form.format(kind): str(number) for kind, number in numbers.items() if number is not None}


def error(
    status: int,
    message: str,
    *,
    family: Family = "chat",
    parameter: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return an error as the provider of the family writes it."""
    if family == "chat":
        document: dict[str, Any] = {
            "error": {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}
        }
    else:
        document = {"type": "error", "error": {"type": code or "invalid_request_error", "message": message}}
    return web.json_response(document, status=status, headers=headers)


def verdict_of(asked: Asked) -> dict[str, Any]:
    """Return what the model finds: the essay of the higher quality, Essay A when they are equal."""
    essays = essays_in(asked.prompt, UUID(asked.correlation_id)) if asked.correlation_id else None
    qualities = [float(found[1]) if (found := _QUALITY.search(text)) else 0.0 for text in essays or ("", "")]
    winner = "Essay A" if qualities[0] >= qualities[1] else "Essay B"
    return {"justification": f"Because of its quality, {max(qualities)}.", "winner": winner, "confidence": 4}


def _said(asked: Asked, text: str | None) -> str:
    if text is not None:
        return text
    verdict = verdict_of(asked)
    config = asked.body.get("output_config") or {}
    if "response_format" in asked.body or "format" in config or "tools" in asked.body:
        return json.dumps(verdict)
    return f"{verdict['justification']}\nWINNER: {verdict['winner']}, CONFIDENCE: {verdict['confidence']}"


def _completion(asked: Asked, text: str | None, given: int, answered: int) -> dict[str, Any]:
    said, called = _said(asked, text), "tools" in asked.body and text is None
    function = {"id": "call_1", "type": "function", "function": {"name": "give_verdict", "arguments": said}}
    message = {"role": "assistant", "content": None if called else said, "refusal": None}
    return {
        "id": f"chatcmpl-{asked.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.body["model"],
        "choices": [
            {
                "index": 0,
                "message": message | ({"tool_calls": [function]} if called else {}),
                "finish_reason": "tool_calls" if called else "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": given, "completion_tokens": answered, "total_tokens": given + answered},
    }


def _message(asked: Asked, text: str | None, given: int, answered: int) -> dict[str, Any]:
    said, called = _said(asked, text), "tools" in asked.body and text is None
    tool = {"type": "tool_use", "id": "toolu_1", "name": "give_verdict", "input": verdict_of(asked)}
    return {
        "id": f"msg_{asked.number}",
        "type": "message",
        "role": "assistant",
        "model": asked.body["model"],
        "content": [tool if called else {"type": "text", "text": said}],
        "stop_reason": "tool_use" if called else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": given, "output_tokens": answered},
    }


def _has(body: Any, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(body, dict) or name not in body:
            return False
        body = body[name]
    return True


def _change(document: Any, path: list[str], value: Any) -> None:
    *outer, last = (int(part) if part.isdigit() else part for part in path)
    for part in outer:
        document = document[part]
    document[last] = value


async def _run(arguments: argparse.Namespace) -> None:
    manners = {
        "requests_per_minute": arguments.rpm, "tokens_per_minute": arguments.tpm, "seconds": arguments.seconds
    }  # fmt: skip
    async with FakeEndpoint(port=arguments.port, **manners) as endpoint:
        sys.stdout.write(f"{endpoint.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rpm", type=int)
    parser.add_argument("--tpm", type=int)
    parser.add_argument("--seconds", type=float, default=0.0)
    asyncio.run(_run(parser.parse_args()))
