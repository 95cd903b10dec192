"""The health line of every command that asks the workers: what is away, since when, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cj_stream.cli.shared.output import note
from cj_stream.cli.shared.rendering import plain


def degraded_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that is not as it should be, harmless to the terminal."""
    return [
        plain(f"Degraded since {found['since']}: {found['what']} {found['meaning']}").plain
        for found in answer.get("degraded", ())
    ]


def tell_degraded(answer: Mapping[str, Any]) -> None:
    """Print those lines on standard error."""
    for line in degraded_lines(answer):
        note(line)
