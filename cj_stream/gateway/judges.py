"""What a judge is: it gets a question about two essays and gives a verdict, or says why it has none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

Slot = Literal["A", "B"]


@dataclass(frozen=True)
class Question:
    """One pair in the order presented: ``first`` is the id of Essay A, ``second`` that of Essay B."""

    first: str
    second: str
    prompt: str

    def swapped(self) -> Question:
        """Return the same pair in the other order."""
        return replace(self, first=self.second, second=self.first)


@dataclass(frozen=True)
class Verdict:
    """The slot that won; ``confidence`` runs from 1 (a guess) to 5 (certain)."""

    winner: Slot
    confidence: float
    justification: str


@dataclass(frozen=True)
class Failure:
    """Why there is no verdict, in the provider's error codes."""

    code: str
    message: str


Answer = Verdict | Failure


class Judge(Protocol):
    """Judges pairs. An exception counts as a failed comparison and harms no other question."""

    async def judge(self, question: Question) -> Answer:
        """Return the verdict on this pair, or the failure to have one."""


class OrderFree:
    """Makes a judge's verdicts independent of the order in which the two essays are presented."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def judge(self, question: Question) -> Answer:
        """Ask about the pair in the order of its ids, and turn the answer round where that was the other order."""
        if question.first <= question.second:
            return await self._judge.judge(question)
        answer = await self._judge.judge(question.swapped())
        if isinstance(answer, Failure):
            return answer
        return replace(answer, winner="B" if answer.winner == "A" else "A")
