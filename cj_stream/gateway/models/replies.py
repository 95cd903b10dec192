"""What an endpoint's answer says, whichever of the two interfaces it speaks: text, end, tokens. Nothing is trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cj_stream.gateway.judges import Usage
from cj_stream.gateway.models.forms import TOOL, NoDecisionError

LARGEST_COUNT = 10_000_000
"""Tokens of one call that are believed."""
_FINISHED = frozenset({"stop", "eos", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence"})
_CUT = frozenset({"length", "max_tokens", "model_context_window_exceeded"})
_REFUSED = frozenset({"content_filter", "refusal", "safety", "SAFETY"})


@dataclass(frozen=True)
class Tokens:
    """The tokens of a call; ``cached`` of those that went in cost less."""

    usage: Usage
    cached: int = 0


@dataclass(frozen=True)
class Reply:
    """One answer: ``end`` is why the model stopped, ``refusal`` what it said instead of an answer."""

    text: str
    end: str | None
    refusal: str | None
    tokens: Tokens | None

    def complete(self) -> str:
        """Return the text of an answer that came to its end. Raises NoDecisionError when it did not, or is refused."""
        if self.refusal is not None or self.end in _REFUSED:
            raise NoDecisionError("LLM_CONTENT_FILTER", "the model refused to judge these essays")
        if self.end in _CUT:
            raise NoDecisionError("INVALID_RESPONSE", "the answer was cut off at its limit of tokens")
        if self.end is not None and self.end not in _FINISHED:
            raise NoDecisionError("INVALID_RESPONSE", "the answer ended for a reason that means no verdict")
        return self.text


def read_chat(document: Mapping[str, Any]) -> Reply:
    """Return what a chat completion says. Raises NoDecisionError where it is none."""
    choices = document.get("choices")
    if not isinstance(choices, list) or len(choices) != 1:
        raise _shapeless("has not exactly one choice")
    choice = _object(choices[0], "choice")
    message = _object(choice.get("message"), "message")
    calls = message.get("tool_calls")
    usage = document.get("usage")
    return Reply(
        text=_arguments(calls) if isinstance(calls, list) and calls else _text(message.get("content")),
        end=_end(choice.get("finish_reason")),
        refusal=_text(message.get("refusal")) or None,
        tokens=_chat_tokens(usage) if isinstance(usage, dict) else None,
    )


def read_message(document: Mapping[str, Any]) -> Reply:
    """Return what a message says. Raises NoDecisionError where it is none."""
    content = document.get("content")
    if not isinstance(content, list):
        raise _shapeless("has no content")
    calls = [block for block in content if isinstance(block, dict) and block.get("type") == "tool_use"]
    usage = document.get("usage")
    return Reply(
        text=_input(calls) if calls else _text(content),
        end=_end(document.get("stop_reason")),
        refusal=None,
        tokens=_message_tokens(usage) if isinstance(usage, dict) else None,
    )


def _arguments(calls: list[Any]) -> str:
    function = _object(_object(_only(calls), "tool call").get("function"), "function")
    arguments = function.get("arguments")
    if function.get("name") != TOOL or not isinstance(arguments, str):
        raise _shapeless("calls another tool")
    return arguments


def _input(calls: list[dict[str, Any]]) -> str:
    call = _object(_only(calls), "tool call")
    if call.get("name") != TOOL:
        raise _shapeless("calls another tool")
    return json.dumps(call.get("input"))


def _only(calls: list[Any]) -> object:
    if len(calls) != 1:
        raise _shapeless("calls its tool more than once")
    return calls[0]


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    blocks: Iterable[object] = content if isinstance(content, list) else ()
    texts = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _end(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _shapeless("has an end that is no text")


def _chat_tokens(usage: dict[str, Any]) -> Tokens | None:
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return _tokens([usage.get("prompt_tokens")], usage.get("completion_tokens"), cached)


def _message_tokens(usage: dict[str, Any]) -> Tokens | None:
    # What is read from or written to the cache is not in ``input_tokens``.
    cached = usage.get("cache_read_input_tokens")
    parts = [usage.get("input_tokens"), cached or 0, usage.get("cache_creation_input_tokens") or 0]
    return _tokens(parts, usage.get("output_tokens"), cached)


def _tokens(given: list[Any], answered: Any, cached: Any) -> Tokens | None:
    if not all(_is_count(number) for number in (*given, answered)):
        return None
    total = sum(given)
    return Tokens(Usage(total, answered), cached if _is_count(cached) and cached <= total else 0)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _shapeless(f"has no {what}")
    return value


def _shapeless(what: str) -> NoDecisionError:
    return NoDecisionError("INVALID_RESPONSE", f"the endpoint's answer {what}")
