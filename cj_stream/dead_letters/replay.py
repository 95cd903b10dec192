"""Whether a dead letter can be sent again: its value must be whole, and must pass the validation that refused it."""

from __future__ import annotations

from hashlib import sha256

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import read_request
from cj_stream.dead_letters.letter import StoredDeadLetter
from cj_stream.operations.settings import Settings


def why_not_again(letter: StoredDeadLetter, settings: Settings) -> str | None:
    """Return why ``letter`` cannot be sent again to where it came from, None if it can and would be taken now."""
    if not letter.is_whole:
        return (
            f"only the first {len(letter.value or b'')} of its {letter.size} bytes were kept: have its sender send it"
        )
    if not letter.has_whole_key:
        return f"only the first {len(letter.key or b'')} bytes of its key were kept: have its sender send it"
    if letter.value is not None and sha256(letter.value).hexdigest() != letter.sha256:
        return "the value is not the one that was refused: its sha256 differs"
    try:
        if letter.topic == settings.assessment_request_topic:
            read_request(letter.value, max_essays=settings.max_essays)
        elif letter.topic == settings.llm_provider_callback_topic:
            read_callback(letter.value)
        else:
            return (
                f"it came from {letter.topic}, which is no input of the service: only requests and callbacks are sent"
            )
    except Refused as refused:
        return f"it would be refused again: {refused.reason}: {refused.detail}"
    return None
