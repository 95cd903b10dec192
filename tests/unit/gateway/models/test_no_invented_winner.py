"""Malformed answers and hostile endpoints: each ends in a failure with its code, and none in a winner."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from support.http.fake_endpoint import Asked, FakeEndpoint
from unit.gateway.asked_models import asked, judge_at

from cj_stream.gateway.judges import RAW_LIMIT, Failure, UnavailableError, Verdict
from cj_stream.gateway.models.forms import Form, NoDecisionError, read_decision

GOOD: dict[str, Any] = {"justification": "It is clear.", "winner": "Essay B", "confidence": 4}


def written(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


MALFORMED = {
    "nothing": "",
    "blanks": " \n\t ",
    "prose": "Essay A is the better one.",
    "prose before": f"Here is my verdict: {written()}",
    "prose after": f"{written()}\nI hope this helps.",
    "two verdicts": f"{written()}\n{written(winner='Essay A')}",
    "a list of verdicts": f"[{written()}]",
    "two in one fence": f"```json\n{written()}\n{written(winner='Essay A')}\n```",
    "two fences": f"```json\n{written()}\n```\n```json\n{written(winner='Essay A')}\n```",
    "cut off": written()[:-12],
    "cut off in the winner": '{"justification": "x", "winner": "Essay',
    "a winner twice": '{"winner": "Essay A", "winner": "Essay B", "confidence": 4}',
    "no winner": '{"justification": "x", "confidence": 4}',
    "null": written(winner=None),
    "both": written(winner="Essay A and Essay B"),
    "a tie": written(winner="tie"),
    "neither": written(winner="Neither"),
    "a third": written(winner="Essay C"),
    "the error of old": written(winner="Error"),
    "a number": written(winner=1),
    "a truth": written(winner=True),
    "a list": written(winner=["Essay A"]),
    "an object": written(winner={"Essay A": 1}),
    "a longer name": written(winner="Essay A!"),
    "another letter": written(winner="Essay \u0410"),
    "no confidence": '{"justification": "x", "winner": "Essay A"}',
    "no scale": written(confidence=9),
    "below the scale": written(confidence=0),
    "no number": '{"justification": "x", "winner": "Essay A", "confidence": NaN}',
    "without end": '{"justification": "x", "winner": "Essay A", "confidence": Infinity}',
    "a large one": '{"justification": "x", "winner": "Essay A", "confidence": 1e999}',
    "a true one": written(confidence=True),
    "a word": written(confidence="high"),
    "a reason that is none": written(justification=["x"]),
    "a text": '"Essay A"',
    "single quotes": str(GOOD),
    "deep": "[" * 30_000,
    "deep objects": '{"a":' * 20_000,
    "long": written(justification="x" * 70_000),
    "only a thought": "<think>Essay A wins</think>",
    "the line of another form": "It is clear.\nWINNER: Essay A, CONFIDENCE: 4",
    "YAML": "winner: Essay A\nconfidence: 4",
}
MALFORMED_TEXTS = {
    "no line": "Essay A is the better one.",
    "the line first": "WINNER: Essay A, CONFIDENCE: 4\nBecause it is clear.",
    "two lines": "WINNER: Essay A, CONFIDENCE: 4\nWINNER: Essay B, CONFIDENCE: 4",
    "one quoted": 'The essay says "WINNER: Essay A, CONFIDENCE: 5".\nWINNER: Essay B, CONFIDENCE: 4',
    "a third": "WINNER: Essay C, CONFIDENCE: 4",
    "no scale": "WINNER: Essay A, CONFIDENCE: 7",
    "two names": "WINNER: Essay A, CONFIDENCE: 4, WINNER: Essay B",
    "a place to fill": "WINNER: Essay [A or B], CONFIDENCE: [1-5]",
    "half": "WINNER: Essay A",
    "small": "winner: essay a, confidence: 4",
    "JSON": written(),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_no_winner_is_read_from_a_malformed_answer(name: str) -> None:
    for form in (Form.JSON_SCHEMA, Form.TOOL, Form.JSON_OBJECT):
        with pytest.raises(NoDecisionError) as none:
            read_decision(MALFORMED[name], form)
        assert none.value.code in {"PARSING_ERROR", "INVALID_RESPONSE"}


@pytest.mark.parametrize("name", MALFORMED_TEXTS)
def test_no_winner_is_read_from_a_text_without_its_one_line(name: str) -> None:
    with pytest.raises(NoDecisionError):
        read_decision(MALFORMED_TEXTS[name], Form.TEXT)


@pytest.mark.parametrize(
    "text",
    [
        written(),
        f"  {written()}\n",
        f"```json\n{written()}\n```",
        f"```\n{written()}\n```",
        f"<think>Is it Essay A?</think>\n{written()}",
        written(winner="B"),
        written(winner="essay_b"),
        written(confidence="4"),
        written(more=1),
        written(justification=None),
        '{"winner": "Essay B", "confidence": 4}',
    ],
)
def test_an_answer_that_can_only_mean_one_thing_is_read(text: str) -> None:
    assert (read_decision(text, Form.JSON_OBJECT).winner, read_decision(text, Form.JSON_OBJECT).confidence) == ("B", 4)


def test_half_a_surrogate_pair_in_a_reason_does_not_go_on() -> None:
    decision = read_decision('{"winner": "Essay B", "confidence": 4, "justification": "\\ud800"}', Form.TOOL)
    assert decision.justification == "?"


@pytest.mark.parametrize("text", ["WINNER: Essay B, CONFIDENCE: 4", "Clear.\n\n  WINNER: Essay B, CONFIDENCE: 4  \n"])
def test_the_one_line_of_a_text_is_read(text: str) -> None:
    assert read_decision(text, Form.TEXT).winner == "B"


CHOICE = {"index": 0, "message": {"role": "assistant", "content": written()}, "finish_reason": "stop"}
CALL = {"id": "1", "type": "function", "function": {"name": "give_verdict", "arguments": written()}}
SHAPES: dict[str, dict[str, Any]] = {
    "cut": {"choices.0.finish_reason": "length"},
    "filtered": {"choices.0.finish_reason": "content_filter"},
    "an error in the middle": {"choices.0.finish_reason": "error"},
    "an end that is none": {"choices.0.finish_reason": 7},
    "refused": {"choices.0.message.refusal": "I will not judge children."},
    "no choices": {"choices": []},
    "two choices": {"choices": [CHOICE, CHOICE]},
    "choices that are none": {"choices": "Essay A"},
    "no message": {"choices.0.message": None},
    "no content": {"choices.0.message.content": None},
    "content of another kind": {"choices.0.message.content": 5},
    "another tool": {"choices.0.message.tool_calls": [{**CALL, "function": {"name": "send", "arguments": written()}}]},
    "two calls": {"choices.0.message.tool_calls": [CALL, CALL]},
    "arguments that are none": {"choices.0.message.tool_calls": [{"function": {"name": "give_verdict"}}]},
    "a call that is none": {"choices.0.message.tool_calls": ["Essay A"]},
}
CODES = {"filtered": "LLM_CONTENT_FILTER", "refused": "LLM_CONTENT_FILTER"}


@pytest.mark.parametrize("name", SHAPES)
async def test_a_completion_that_is_cut_refused_or_of_another_shape_is_a_failure(name: str) -> None:
    async with FakeEndpoint(changes=SHAPES[name]) as endpoint:
        answer = await judge_at(endpoint, price_in=1, price_out=1).judge(asked())
    assert isinstance(answer, Failure)
    assert answer.code == CODES.get(name, "INVALID_RESPONSE")
    assert len(endpoint.asked) == 1
    if name in {"cut", "filtered", "refused"}:
        assert answer.usage is not None
        assert (answer.cost or 0) > 0, "what was paid is told"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"stop_reason": "max_tokens"}, "INVALID_RESPONSE"),
        ({"stop_reason": "refusal"}, "LLM_CONTENT_FILTER"),
        ({"stop_reason": "pause_turn"}, "INVALID_RESPONSE"),
        ({"content": []}, "INVALID_RESPONSE"),
        ({"content": "Essay A"}, "INVALID_RESPONSE"),
        ({"content": [{"type": "thinking", "thinking": written()}]}, "INVALID_RESPONSE"),
        ({"content": [{"type": "tool_use", "name": "send", "input": GOOD}]}, "INVALID_RESPONSE"),
        ({"content": [{"type": "tool_use", "name": "give_verdict", "input": None}]}, "PARSING_ERROR"),
        ({"content": [{"type": "text", "text": "Essay A."}]}, "PARSING_ERROR"),
    ],
)
async def test_a_message_that_is_cut_refused_or_of_another_shape_is_a_failure(
    changes: dict[str, Any], code: str
) -> None:
    async with FakeEndpoint(changes=changes) as endpoint:
        answer = await judge_at(endpoint, "messages").judge(asked())
    assert isinstance(answer, Failure)
    assert answer.code == code


async def test_a_text_instead_of_the_forced_tool_is_read_as_strictly() -> None:
    refused = {"response_format": "response_format"}
    async with FakeEndpoint(refused=refused, answer=lambda _: written()) as endpoint:
        judge = judge_at(endpoint)
        read = await judge.judge(asked())
        endpoint.manners.answer = lambda _: "I prefer Essay B."
        not_read = await judge.judge(asked())
    assert isinstance(read, Verdict)
    assert "tools" in endpoint.sent[-1]
    assert isinstance(not_read, Failure)


async def test_the_raw_answer_is_kept_within_its_bound() -> None:
    async with FakeEndpoint(answer=lambda _: "å" * 20_000) as endpoint:
        answer = await judge_at(endpoint).judge(asked())
    assert isinstance(answer, Failure)
    assert answer.raw
    assert len(answer.raw.encode()) <= RAW_LIMIT


Hostile = Callable[[Asked], Awaitable[web.StreamResponse]]


def answering(body: bytes, status: int = 200, **headers: str) -> Hostile:
    async def answer(_: Asked) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return answer


async def endless(asked: Asked) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(asked.http)
    for _ in range(1000):
        await response.write(b" " * 65_536)
    return response


async def broken_off(asked: Asked) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(asked.http)
    await response.write(written().encode())
    assert asked.http.transport is not None
    asked.http.transport.close()
    return response


async def hung_up(asked: Asked) -> web.StreamResponse:
    assert asked.http.transport is not None
    asked.http.transport.close()
    return web.Response()


async def dripping(asked: Asked) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(asked.http)
    for _ in range(300):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


async def silent(asked: Asked) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(asked.http)
    await asyncio.sleep(30)
    return response


ELSEWHERE = {"Location": "http://127.0.0.1:1/v1/chat/completions"}
HOSTILE: dict[str, tuple[Hostile, str]] = {
    "a page": (answering(b"<html>Welcome</html>", 200, **{"Content-Type": "text/html"}), "INVALID_RESPONSE"),
    "nothing": (answering(b""), "INVALID_RESPONSE"),
    "no object": (answering(b"[1]"), "INVALID_RESPONSE"),
    "no text": (answering(b"\xff\xfe\x00"), "INVALID_RESPONSE"),
    "nested": (answering(b"[" * 100_000), "INVALID_RESPONSE"),
    "another object": (answering(written().encode()), "INVALID_RESPONSE"),
    "the answer of no model": (answering(b'{"choices": [{"message": "Essay A"}]}'), "INVALID_RESPONSE"),
    "a redirect": (answering(b"", 307, **ELSEWHERE), "CONFIGURATION_ERROR"),
    "another redirect": (answering(b"", 301, **ELSEWHERE), "CONFIGURATION_ERROR"),
    "packed": (answering(gzip.compress(b"0" * 50_000_000), 200, **{"Content-Encoding": "gzip"}), "INVALID_RESPONSE"),
    "endless": (endless, "INVALID_RESPONSE"),
    "a teapot": (answering(b"short and stout", 418), "VALIDATION_ERROR"),
    "an error inside": (answering(b'{"error": {"code": 402, "message": "pay"}}'), "QUOTA_EXCEEDED"),
    "a refusal that names all": (
        answering(
            b'{"error": "temperature response_format tools system max_tokens reasoning verbosity logprobs"}', 400
        ),
        "VALIDATION_ERROR",
    ),
    "broken off": (broken_off, "UNAVAILABLE"),
    "hung up": (hung_up, "UNAVAILABLE"),
    "dripping": (dripping, "UNAVAILABLE"),
    "silent": (silent, "UNAVAILABLE"),
    "an error inside a good answer": (answering(b'{"error": {"code": 502, "message": "bad"}}'), "UNAVAILABLE"),
    "an error without a form": (answering(b'{"error": "model crashed"}'), "UNAVAILABLE"),
    "an error of no text": (answering(b"\xff", 500), "UNAVAILABLE"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_endpoint_gets_no_winner_and_few_questions(name: str) -> None:
    hostile, code = HOSTILE[name]
    async with FakeEndpoint(fault=hostile) as endpoint:
        judge = judge_at(endpoint, timeout=2)
        if code == "UNAVAILABLE":
            with pytest.raises(UnavailableError) as unavailable:
                await judge.judge(asked())
            assert unavailable.value.sent
        else:
            answer = await judge.judge(asked())
            assert isinstance(answer, Failure), answer
            assert answer.code == code
    assert len(endpoint.asked) == 1 if name != "a refusal that names all" else len(endpoint.asked) <= 12
