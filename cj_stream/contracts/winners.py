"""Who won a comparison, as the wire spells it."""

from __future__ import annotations

from typing import Literal

from cj_stream.contracts.refusal import Refused
from cj_stream.domain.records import Slot
from cj_stream.engine.texts import clip

JUDGE_GAVE_NO_WINNER = "JUDGE_GAVE_NO_WINNER"
"""Error code of a comparison whose winner is ``Error``, as older providers said."""
_SLOTS: dict[str, Slot] = {"essay a": "A", "essay b": "B"}


def slot_or_error(winner: str) -> Slot | Literal["error"]:
    """Return the slot that ``winner`` names, or ``error``; any case, ``_`` for the space and outer blanks are fine.

    Raises ``Refused`` for anything else: a winner is never guessed.
    """
    spelling = winner.strip().lower().replace("_", " ")
    if spelling == "error":
        return "error"
    slot = _SLOTS.get(spelling)
    if slot is None:
        detail = f"winner is {clip(repr(winner), 80)}: send 'Essay A', 'Essay B' or an error_detail."
        raise Refused("unknown_winner", detail, field="winner")
    return slot
