"""A judge that answers with decisions real people made: it replays a recorded comparative judgement study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from cj_stream.domain.verdict_sources import MOCK_PROVIDER, RECORDED_MODEL
from cj_stream.gateway.chance import uniform
from cj_stream.gateway.judges import Answer, Failure, Question, Unlimited, Verdict

_COLUMNS = ("judge_index0", "left_index0", "right_index0", "left_won")


class Study(msgspec.Struct):
    """One recorded study: rows of ``comparisons`` are judge, left item, right item, and 1 if the left item won."""

    items: tuple[str, ...]
    comparisons_columns: tuple[str, ...]
    comparisons: list[tuple[int, int, int, int]]


class _Studies(msgspec.Struct):
    studies: dict[str, Study]


class ReplayJudge(Unlimited):
    """Answers a pair with one of its recorded decisions, picked by the hash of seed and pair in presented order.

    Essay ids are the study's item names, exactly.
    """

    scope = "mock/recorded"

    def __init__(self, study: Study, *, seed: int) -> None:
        self._seed = seed
        self._items = frozenset(study.items)
        self._winners = _winners(study)

    async def judge(self, question: Question) -> Answer:
        """Return a recorded decision, or a failure that says what was never recorded."""
        unknown = [essay for essay in (question.first, question.second) if essay not in self._items]
        if unknown:
            return Failure("VALIDATION_ERROR", f"the recorded study has no item {unknown[0][:80]!r}")
        winners = self._winners.get(frozenset((question.first, question.second)))
        if winners is None:
            return Failure("VALIDATION_ERROR", f"nobody judged {question.first!r} against {question.second!r}")
        return self._pick(question, winners)

    def _pick(self, question: Question, winners: Sequence[str]) -> Verdict:
        drawn = winners[int(uniform(self._seed, "replay", question.first, question.second) * len(winners))]
        agreed = winners.count(drawn)
        return Verdict(
            winner="A" if drawn == question.first else "B",
            confidence=round(1 + 4 * abs(2 * agreed / len(winners) - 1), 1),
            justification=f"A recorded decision of a person; {agreed} of {len(winners)} chose it.",
            provider=MOCK_PROVIDER,
            model=RECORDED_MODEL,
            cost=0.0,
        )


def read_study(path: Path, name: str) -> Study:
    """Read one study of a file of recorded studies.

    Raises ValueError saying what is wrong with the file or the name, OSError when it cannot be read.
    """
    try:
        studies = msgspec.json.decode(path.read_bytes(), type=_Studies).studies
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} is not a file of recorded studies: {error}") from error
    if name not in studies:
        raise ValueError(f"{path} has no study {name!r}; it has {', '.join(sorted(studies))}")
    study = studies[name]
    if study.comparisons_columns != _COLUMNS:
        raise ValueError(f"{path}, study {name}: the columns must be {', '.join(_COLUMNS)}")
    positions = range(len(study.items))
    for number, (_, left, right, left_won) in enumerate(study.comparisons):
        if left not in positions or right not in positions or left_won not in (0, 1):
            raise ValueError(f"{path}, study {name}: comparison {number} names no item or no winner")
    return study


def _winners(study: Study) -> Mapping[frozenset[str], Sequence[str]]:
    """Return the names of the recorded winners of each unordered pair, in the order of the file."""
    winners: dict[frozenset[str], list[str]] = {}
    for _, left, right, left_won in study.comparisons:
        pair = frozenset((study.items[left], study.items[right]))
        winners.setdefault(pair, []).append(study.items[left if left_won else right])
    return winners
