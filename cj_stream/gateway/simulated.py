"""A judge with a known truth: latent qualities, and verdicts drawn from the Bradley-Terry model."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from cj_stream.domain.verdict_sources import MOCK_PROVIDER, SIMULATED_MODEL
from cj_stream.gateway.chance import normal, uniform
from cj_stream.gateway.judges import Answer, Failure, Question, Unlimited, Verdict


class SimulatedJudge(Unlimited):
    """P(first wins) = logistic((quality of first - quality of second + position_bias) / noise).

    Bradley & Terry, Biometrika 39 (1952); qualities and bias are in logits. An essay without a given quality has one
    drawn from N(0, spread) by the hash of seed and id. ``noise=0``: the better essay always wins. A pair in
    one order always gets the same verdict from the same seed. ``failures`` is the share of pairs without any.
    """

    scope = "mock/simulated"

    def __init__(
        self,
        *,
        seed: int,
        qualities: Mapping[str, float] | None = None,
        spread: float = 1.5,
        position_bias: float = 0.0,
        noise: float = 1.0,
        failures: float = 0.0,
    ) -> None:
        self._seed = seed
        self._qualities = qualities or {}
        self._spread = spread
        self._position_bias = position_bias
        self._noise = noise
        self._failures = failures

    def quality(self, essay_id: str) -> float:
        """Return the essay's latent quality, logits."""
        given = self._qualities.get(essay_id)
        return self._spread * normal(self._seed, "quality", essay_id) if given is None else given

    def first_wins(self, question: Question) -> float:
        """Return the probability that the essay presented first wins."""
        advantage = self.quality(question.first) - self.quality(question.second) + self._position_bias
        if self._noise == 0:
            return 0.5 if advantage == 0 else float(advantage > 0)
        # The symmetric form of the logistic function, which cannot overflow.
        return 0.5 * (1 + math.tanh(advantage / self._noise / 2))

    async def judge(self, question: Question) -> Answer:
        """Return the verdict that the seed fixes for this pair in this order, or that there is none."""
        if uniform(self._seed, "failure", question.first, question.second) < self._failures:
            return Failure("EXTERNAL_SERVICE_ERROR", "The simulated judge fails on purpose.", "mock", "simulated")
        chance = self.first_wins(question)
        winner = "A" if uniform(self._seed, "verdict", question.first, question.second) < chance else "B"
        certainty = abs(2 * chance - 1)
        return Verdict(
            winner="A" if winner == "A" else "B",
            confidence=round(1 + 4 * certainty, 1),
            justification=f"Essay {winner} wins; the simulated judge gave Essay A a chance of {chance:.0%}.",
            provider=MOCK_PROVIDER,
            model=SIMULATED_MODEL,
            cost=0.0,
        )


def read_qualities(path: Path) -> dict[str, float]:
    """Read a CSV with the columns ``essay_id`` and ``quality`` (logits).

    Raises ValueError naming the file and the line when it is not of that form, OSError when it cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not {"essay_id", "quality"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path}: the first line must name the columns essay_id and quality")
        return {row["essay_id"]: _quality(path, reader.line_num, row["quality"]) for row in reader}


def _quality(path: Path, line: int, value: str | None) -> float:
    try:
        quality = float(value or "")
    except ValueError:
        quality = math.nan
    if not math.isfinite(quality):
        raise ValueError(f"{path}, line {line}: quality must be a number, not {value!r}")
    return quality
