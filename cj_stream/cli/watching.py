"""Watching batches until they end: bars in a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cj_stream.cli.client import ViewError, ViewsClient
from cj_stream.cli.rendering import number, plain, state_text

TERMINAL_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
"""How long a batch may stay unknown, or every worker silent, before watching gives up."""


@dataclass
class Watched:
    """One batch, and what the views said of it last."""

    batch_id: str
    detail: dict[str, Any] | None = None
    waiting_for: str = "Its request has not arrived yet."
    seen_at: float = field(default_factory=time.monotonic)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.detail is not None and self.detail["state"] in TERMINAL_STATES

    async def refresh(self, client: ViewsClient, patience: float) -> None:
        """Ask the views; raises `ViewError` when they have been of no use for ``patience`` seconds."""
        try:
            self.detail = await client.batch(self.batch_id)
            self.waiting_for = "" if self.ended else (await client.explain(self.batch_id))["waiting_for"]
        except ViewError:
            if time.monotonic() - self.seen_at > patience:
                raise
        else:
            self.seen_at = time.monotonic()


async def watch(
    client: ViewsClient, batch_ids: Sequence[str], console: Console, *, patience: float = PATIENCE_SECONDS
) -> list[dict[str, Any]]:
    """Show the batches until all have ended, and return their last details in the order given.

    Raises `ViewError` when one stays unknown, or no worker answers, for ``patience`` seconds.
    """
    watched = [Watched(batch_id) for batch_id in batch_ids]
    with _display(console) as show:
        while True:
            await asyncio.gather(*(batch.refresh(client, patience) for batch in watched if not batch.ended))
            show(watched)
            if all(batch.ended for batch in watched):
                return [batch.detail for batch in watched if batch.detail is not None]
            await asyncio.sleep(POLL_SECONDS)


@contextmanager
def _display(console: Console) -> Iterator[Callable[[Sequence[Watched]], None]]:
    """Yield what shows the batches as they stand now."""
    if not console.is_terminal:
        yield _Lines(console).show
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda watched: live.update(_bars(watched), refresh=True)


class _Lines:
    """A line whenever something worth a line has changed, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, tuple[Any, ...]] = {}

    def show(self, watched: Sequence[Watched]) -> None:
        for batch in watched:
            detail = batch.detail
            if detail is None:
                continue
            news = (detail["state"], detail["current_iteration"], detail["reliability"])
            if self._shown.get(batch.batch_id) != news:
                self._shown[batch.batch_id] = news
                self._console.print(plain(_line(detail)), soft_wrap=True)


def _line(detail: dict[str, Any]) -> str:
    parts = [
        f"{detail['batch_id']}: {detail['state']}",
        f"iteration {detail['current_iteration']}",
        f"{detail['completed_comparisons']} verdicts of at most {detail['expected_comparisons']}",
        f"reliability {number(detail['reliability'])}",
    ]
    why = detail["failure"] or detail["stop_reason"]
    return ", ".join(parts) + (f": {why}" if why else "")


def _bars(watched: Sequence[Watched]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for batch in watched:
        table.add_row(*_row(batch))
    waiting = [
        Text.assemble(plain(batch.batch_id), ": ", plain(batch.waiting_for), style="dim")
        for batch in watched
        if batch.waiting_for
    ]
    return Group(table, *waiting)


def _row(batch: Watched) -> tuple[RenderableType, ...]:
    detail = batch.detail
    if detail is None:
        return plain(batch.batch_id), Text("requested", style="dim"), ProgressBar(width=30, completed=0), "", ""
    verdicts = detail["completed_comparisons"]
    expected = verdicts if detail["state"] == "COMPLETED" else detail["expected_comparisons"]
    bar = ProgressBar(total=max(expected, 1), completed=verdicts if expected else 1, width=30)
    note = detail["failure"] or f"reliability {number(detail['reliability'])}"
    return plain(batch.batch_id), state_text(detail["state"]), bar, f"{verdicts}/{expected} verdicts", plain(note)
