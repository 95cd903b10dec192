"""The lines around each essay in a prompt: they carry a code that no author of an essay can know beforehand.

The code follows from the comparison's correlation id, so both sides of the wire find the essays without sending it
apart, and a prompt that is sent again has the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import count, islice
from typing import NamedTuple
from uuid import UUID

from cj_stream.domain.records import Slot

_DIGITS = 16
_TRIED = 8
"""Codes looked for in a prompt. A second one is needed only for an essay that contains the first."""


class Essays(NamedTuple):
    """The two essays of a prompt, in the order presented."""

    first: str
    second: str


def boundary_code(correlation_id: UUID, text_a: str, text_b: str) -> str:
    """Return the code of this comparison's boundaries: 16 hex digits that neither text contains."""
    return next(code for code in _codes(correlation_id) if code not in text_a and code not in text_b)


def enclosed(slot: Slot, text: str, code: str) -> str:
    """Return an essay between its two boundary lines."""
    return f"{_opening(slot, code)}{text}{_closing(slot, code)}"


def essays_in(prompt: str, correlation_id: UUID | None) -> Essays | None:
    """Return the essays of a prompt, None where they do not stand inside boundaries of this comparison's code."""
    if correlation_id is None:
        return None
    # An essay may hold boundaries of a code that its author guessed; the real ones stand before it.
    codes = [code for code in islice(_codes(correlation_id), _TRIED) if _opening("A", code) in prompt]
    if not codes:
        return None
    code = min(codes, key=lambda code: prompt.index(_opening("A", code)))
    first, second = (_between(prompt, _opening(slot, code), _closing(slot, code)) for slot in ("A", "B"))
    return None if first is None or second is None else Essays(first, second)


def _codes(correlation_id: UUID) -> Iterator[str]:
    for number in count():
        yield sha256(b"boundary/%d/%s" % (number, correlation_id.bytes)).hexdigest()[:_DIGITS]


def _opening(slot: str, code: str) -> str:
    return f"<<<ESSAY {slot} BEGINS {code}>>>\n"


def _closing(slot: str, code: str) -> str:
    return f"\n<<<ESSAY {slot} ENDS {code}>>>"


def _between(prompt: str, opening: str, closing: str) -> str | None:
    if prompt.count(opening) != 1 or prompt.count(closing) != 1:
        return None
    start, end = prompt.index(opening) + len(opening), prompt.index(closing)
    # The closing line of an empty essay begins with the end of its opening line.
    return prompt[start:end] if start <= end else None
