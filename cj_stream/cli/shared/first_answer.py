"""The first answer of several workers: the next is asked when one before it has failed, or is silent for a moment.

A frozen worker takes the connection, for the kernel does that, and never answers. Nobody should have to wait for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Found = TypeVar("Found")

NEXT_SECONDS = 1.5
"""How long a worker may be silent before the next one is asked too."""
SILENCE_SECONDS = 3.0
"""How long all that were asked may be silent before it is said that they are waited for."""


class NobodyAnswersError(Exception):
    """All have failed; the text says how each did."""


class FirstAnswer(Generic[Found]):
    """Asks workers by their base addresses. ``failures`` are the errors of a worker that does not answer."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[Found]],
        failures: tuple[type[Exception], ...],
        describe: Callable[[Exception], str],
        say_silent: Callable[[str], None],
    ) -> None:
        self._ask = ask
        self._failures = failures
        self._describe = describe
        self._say_silent = say_silent
        self._asked: dict[asyncio.Future[Found], str] = {}
        self._whys: list[str] = []

    async def of(self, bases: Sequence[str]) -> tuple[str, Found]:
        """Return the address and the answer of the first that answers.

        Raises `NobodyAnswersError`, and whatever else asking raises.
        """
        waiting, began, said = list(bases), time.monotonic(), False
        try:
            while waiting or self._asked:
                if waiting:
                    base = waiting.pop(0)
                    self._asked[asyncio.ensure_future(self._ask(base))] = base
                found = await self._next()
                if found is not None:
                    return found
                if self._asked and not said and time.monotonic() - began > SILENCE_SECONDS:
                    said = True
                    self._say_silent(", ".join(self._asked.values()))
        finally:
            await self._cancel()
        raise NobodyAnswersError("; ".join(self._whys))

    async def _next(self) -> tuple[str, Found] | None:
        done, _ = await asyncio.wait(self._asked, timeout=NEXT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            base = self._asked.pop(task)
            try:
                return base, task.result()
            except self._failures as error:
                self._whys.append(f"{base}: {self._describe(error)}")
        return None

    async def _cancel(self) -> None:
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
