"""Judges to try methods with: how likely each is to prefer the first of two items of known quality."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from cj_stream.scoring.estimation.data import Floats


class JudgeKind(StrEnum):
    """The ways in which judges differ from the model that scores them."""

    MODEL = "model"
    """As the Bradley-Terry model has it, with an advantage for the first item if asked for."""
    DRIFTING = "drifting"
    """Discriminates less and less: half again as sharp as asked at the start, half as sharp at the end."""
    MIXED = "mixed"
    """Every comparison by one of many judges, whose sharpness varies (log-normal, SD 0.7), and their bias as well."""
    COIN = "coin"
    """Flips a coin, whatever the items."""


@dataclass(frozen=True)
class JudgeModel:
    """Prefers the first item with probability 1 / (1 + exp(-(quality (theta_first - theta_second) + position_bias))).

    Attributes:
        kind: see `JudgeKind`.
        quality: how sharply the judge sees a difference of one logit; 1 as in the model, 0 blind.
        position_bias: advantage of the first item, logits.

    """

    kind: JudgeKind = JudgeKind.MODEL
    quality: float = 1.0
    position_bias: float = 0.0

    def first_wins(self, difference: Floats, progress: Floats, rng: np.random.Generator) -> Floats:
        """Judge comparisons: (m,) of 1.0 where the first item wins and 0.0 where it loses.

        Args:
            difference: (m,) true advantage of the first item, logits.
            progress: (m,) how much of all the judging is done by then, 0 to 1.
            rng: source of randomness.

        """
        quality = np.full(len(difference), self.quality)
        bias = np.full(len(difference), self.position_bias)
        match self.kind:
            case JudgeKind.DRIFTING:
                quality *= 1.5 - progress
            case JudgeKind.MIXED:
                quality *= np.exp(0.7 * rng.normal(size=len(difference)))
                bias = bias + 0.5 * rng.normal(size=len(difference))
            case JudgeKind.COIN:
                quality *= 0.0
                bias *= 0.0
        probability = 0.5 + 0.5 * np.tanh(0.5 * (quality * difference + bias))
        first_wins: Floats = (rng.random(len(difference)) < probability).astype(np.float64)
        return first_wins
