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

from cj_stream.cli.shared.degraded import degraded_lines
from cj_stream.cli.shared.rendering import cost_text, number, plain, state_text
from cj_stream.cli.shared.views_client import NOT_FOUND, ViewError, ViewsClient

TERMINAL_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
POLL_SECONDS = 0.5
QUIET_SECONDS = 1.5
"""How long a batch that was just requested may be unknown without a word."""
PATIENCE_SECONDS = 30.0
"""How long a batch may stay unknown, or every worker silent, before watching gives up."""


@dataclass
class ShownBatch:
    """One batch, and what the views said of it last."""

    batch_id: str
    first_run: int = 1
    """Earlier runs of the batch are not what is watched."""
    detail: dict[str, Any] | None = None
    waiting_for: str = ""
    problem: str = ""
    """Why nothing new is known of it, empty when the views answer."""
    seen_at: float = field(default_factory=time.monotonic)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.detail is not None and self.detail["state"] in TERMINAL_STATES

    async def refresh(self, client: ViewsClient, patience: float) -> None:
        """Ask the views; raises `ViewError` when they have been of no use for ``patience`` seconds."""
        try:
            self.detail = await self._ask(client)
            self.waiting_for = "" if self.ended else (await client.explain(self.batch_id))["waiting_for"]
        except ViewError as error:
            silent = time.monotonic() - self.seen_at
            if silent > patience:
                raise
            if silent > QUIET_SECONDS or not error.is_unknown_batch:
                wait = "Its request may be on its way: waiting" if error.is_unknown_batch else "Waiting"
                self.problem = f"{error} {wait} for up to {patience:g} s."
        else:
            self.seen_at = time.monotonic()
            self.problem = ""

    async def _ask(self, client: ViewsClient) -> dict[str, Any]:
        detail = await client.batch(self.batch_id)
        if detail["run"] >= self.first_run:
            return detail
        message = f"Run {self.first_run} of batch {self.batch_id!r} has not started yet."
        raise ViewError(message, status=NOT_FOUND)

    @property
    def remarks(self) -> list[str]:
        """What there is to say of it beside its state: why nothing is known, what is degraded, what it waits for."""
        found = [self.problem, *degraded_lines(self.detail or {}), self.waiting_for]
        return [remark for remark in found if remark]


async def show_until_ended(
    client: ViewsClient,
    batch_ids: Sequence[str],
    console: Console,
    *,
    first_run: int = 1,
    patience: float = PATIENCE_SECONDS,
) -> list[dict[str, Any]]:
    """Show the batches until all have ended, and return their last details in the order given.

    A run before ``first_run`` does not count. Raises `ViewError` when one stays unknown, or no worker answers, for
    ``patience`` seconds.
    """
    watched = [ShownBatch(batch_id, first_run) for batch_id in batch_ids]
    with _display(console) as show:
        while True:
            await asyncio.gather(*(batch.refresh(client, patience) for batch in watched if not batch.ended))
            show(watched)
            if all(batch.ended for batch in watched):
                return [batch.detail for batch in watched if batch.detail is not None]
            await asyncio.sleep(POLL_SECONDS)


@contextmanager
def _display(console: Console) -> Iterator[Callable[[Sequence[ShownBatch]], None]]:
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

    def show(self, watched: Sequence[ShownBatch]) -> None:
        for batch in watched:
            self._show(batch)

    def _show(self, batch: ShownBatch) -> None:
        detail = batch.detail
        news = () if detail is None else (detail["state"], detail["current_iteration"], detail["reliability"])
        if detail is not None and self._is_new(batch.batch_id, news):
            self._console.print(plain(_line(detail)), soft_wrap=True)
        # What it waits for changes with every verdict: too much for a log.
        remarks = tuple(remark for remark in batch.remarks if remark != batch.waiting_for)
        if self._is_new(f"remarks on {batch.batch_id}", remarks):
            for remark in remarks:
                self._console.print(plain(f"{batch.batch_id}: {remark}"), soft_wrap=True)

    def _is_new(self, about: str, news: tuple[Any, ...]) -> bool:
        before = self._shown.get(about, ())
        self._shown[about] = news
        return before != news


def _line(detail: dict[str, Any]) -> str:
    parts = [
        f"{detail['batch_id']}: {detail['state']}",
        f"iteration {detail['current_iteration']}",
        f"{detail['completed_comparisons']} verdicts of at most {detail['expected_comparisons']}",
        f"reliability {number(detail['reliability'])}",
    ]
    if told := cost_text(detail):
        parts.append(told)
    why = detail["failure"] or detail["stop_reason"]
    return ", ".join(parts) + (f": {why}" if why else "")


def _bars(watched: Sequence[ShownBatch]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for batch in watched:
        table.add_row(*_row(batch))
    remarks = [
        Text.assemble(plain(batch.batch_id), ": ", plain(remark), style="dim" if remark == batch.waiting_for else "")
        for batch in watched
        for remark in batch.remarks
    ]
    return Group(table, *remarks)


def _row(batch: ShownBatch) -> tuple[RenderableType, ...]:
    detail = batch.detail
    if detail is None:
        return plain(batch.batch_id), Text("requested", style="dim"), ProgressBar(width=30, completed=0), "", ""
    verdicts = detail["completed_comparisons"]
    expected = verdicts if detail["state"] == "COMPLETED" else detail["expected_comparisons"]
    bar = ProgressBar(total=max(expected, 1), completed=verdicts if expected else 1, width=30)
    note = detail["failure"] or f"reliability {number(detail['reliability'])}"
    if told := cost_text(detail):
        note = f"{note}, {told}"
    return plain(batch.batch_id), state_text(detail["state"]), bar, f"{verdicts}/{expected} verdicts", plain(note)
