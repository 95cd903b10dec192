"""A batch that has ended, and everything there is to show of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from rich.console import Console

from cj_stream.cli.shared.rendering import print_failure, print_result
from cj_stream.cli.shared.views_client import ViewsClient


@dataclass(frozen=True)
class Ended:
    """The last detail of a batch, with its ranking if it was completed, else with its errors by code."""

    detail: Mapping[str, Any]
    result: Mapping[str, Any] | None
    error_counts: Mapping[str, int]

    @classmethod
    async def of(cls, client: ViewsClient, detail: Mapping[str, Any]) -> Self:
        """Fetch what belongs to the detail of an ended batch. Raises `ViewError`."""
        batch_id = detail["batch_id"]
        if detail["state"] == "COMPLETED":
            return cls(detail, await client.result(batch_id), {})
        return cls(detail, None, await client.error_counts(batch_id))

    def show(self, console: Console) -> None:
        """Print the ranking, or why there is none."""
        if self.result is not None:
            print_result(console, self.result)
        else:
            print_failure(console, self.detail, self.error_counts)
