"""How dead letters are shown. Everything in them is a stranger's: nothing of it reaches a terminal uninterpreted."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cj_stream.cli.shared.rendering import plain
from cj_stream.dead_letters.letter import StoredDeadLetter
from cj_stream.engine.dead_letter_topic import KeptLetter

Row = Mapping[str, Any]

_FIELDS = ("reason", "detail", "topic", "partition", "offset", "timestamp", "size", "sha256", "service", "batch_id")
_KEY_SHOWN = 200


def letter_row(kept: KeptLetter[StoredDeadLetter]) -> dict[str, Any]:
    """Return all that is known of a dead letter but its value."""
    row: dict[str, Any] = {"number": kept.number, "refused_at": kept.refused_at}
    if kept.letter is None:
        return {**row, "reason": "not_a_dead_letter", "detail": kept.why_not}
    letter = kept.letter
    return {
        **row,
        **{name: getattr(letter, name) for name in _FIELDS},
        "correlation_id": letter.correlation_id,
        "is_whole": letter.is_whole,
        "key": None if letter.key is None else visible(letter.key),
    }


def full_row(kept: KeptLetter[StoredDeadLetter]) -> dict[str, Any]:
    """Return all that is known of a dead letter; the value in base64, and as text where it is UTF-8."""
    value = kept.letter.value if kept.letter else None
    encoded = None if value is None else base64.b64encode(value).decode()
    return {**letter_row(kept), "value_base64": encoded, "value_text": _text(value)}


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def visible(data: bytes) -> str:
    r"""Return bytes as one line of text: what cannot be printed is written as an escape, as in ``\x1b``."""
    text = data.decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def letters_table(rows: Sequence[Row]) -> Table:
    """Return dead letters as a table, a line or more each."""
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("number", "refused at (UTC)"):
        table.add_column(column, no_wrap=True)
    for column in ("reason", "from", "detail"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            str(row["number"]),
            f"{row['refused_at']:%Y-%m-%d %H:%M:%S}",
            plain(row["reason"]),
            plain(_origin(row)),
            plain(row["detail"]),
        )
    return table


def _origin(row: Row) -> str:
    return f"{row['topic']}[{row['partition']}]@{row['offset']}" if "topic" in row else "-"


def print_letter(console: Console, kept: KeptLetter[StoredDeadLetter], shown: int) -> None:
    """Print everything about a dead letter, and the first ``shown`` bytes of its value."""
    row = letter_row(kept)
    key = row.pop("key", None)
    for name, value in row.items():
        console.print(Text(f"{name.replace('_', ' '):<15}"), plain("-" if value is None else value), soft_wrap=True)
    letter = kept.letter
    if letter is None:
        return
    console.print(Text(f"{'key':<15}"), Text("-" if key is None else key[:_KEY_SHOWN]), soft_wrap=True)
    if letter.value is None:
        console.print("It has no value.")
        return
    console.print(Text(f"\n{visible(letter.value[:shown])}"), soft_wrap=True)
    if len(letter.value) > shown:
        rest = f"\n... {len(letter.value) - shown} more bytes: --bytes, or --output FILE for the value as it is"
        console.print(Text(rest), soft_wrap=True)
