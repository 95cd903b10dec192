"""The three batches of the demo: who judges them, and what has to come out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cj_stream
from cj_stream.cli.batches.ended import Ended
from cj_stream.cli.batches.new_request import EssayText, read_texts
from cj_stream.devkit.correlation import pearson, spearman
from cj_stream.gateway.simulated import read_qualities

STUDY = "vehicle_pairs"
"""The study of the file with the most decisions: 1995 by 21 people."""
SEED = 7
LEAST_AGREEMENT = 0.9


@dataclass(frozen=True)
class Scale:
    """A scale known beforehand, to hold the result against: scores in logits by essay id."""

    name: str
    scores: Mapping[str, float]

    def agreement(self, result: Mapping[str, Any]) -> tuple[float, float]:
        """Return Spearman's and Pearson's correlation of a result's theta with this scale."""
        theta = [row["theta"] for row in result["ranking"]]
        known = [self.scores[row["essay_id"]] for row in result["ranking"]]
        return spearman(theta, known), pearson(theta, known)


@dataclass(frozen=True)
class DemoBatch:
    """One batch: its name is also its batch id and the model that picks its judge at the gateway."""

    name: str
    about: str
    judge: str
    texts: list[EssayText]
    expected_state: str
    outcomes: frozenset[str]
    """Kinds of outcome event that have to be published."""
    task: str | None = None
    scale: Scale | None = None

    def objections(self, ended: Ended) -> list[str]:
        """Return what is not as it has to be, in sentences."""
        detail, result = ended.detail, ended.result
        if detail["state"] != self.expected_state:
            why = f" ({detail['failure']})" if detail["failure"] else ""
            return [f"{self.name} ended {detail['state']}{why}, expected was {self.expected_state}"]
        if self.scale is None or result is None:
            return [] if detail["failure"] else [f"{self.name} ended FAILED without a reason"]
        rank_correlation, _ = self.scale.agreement(result)
        if rank_correlation > LEAST_AGREEMENT:
            return []
        return [f"{self.name}: Spearman's correlation with {self.scale.name} is {rank_correlation:.3f}, not > 0.9"]


def find_examples() -> Path:
    """Return the folder with the example data, of the current directory or of the clone this package is run from.

    Raises ValueError when neither has one.
    """
    for root in (Path.cwd(), Path(cj_stream.__file__).parents[1]):
        if (root / "examples" / "vehicles").is_dir():
            return root / "examples"
    raise ValueError("the example data are not here: run the demo in a clone of the repository")


def demo_batches(examples: Path) -> list[DemoBatch]:
    """Return the three batches. Raises OSError or ValueError when the example data are not what they should be."""
    return [_vehicles(examples / "vehicles"), _essays(examples / "essays"), _trouble(examples / "trouble")]


def _vehicles(folder: Path) -> DemoBatch:
    file = folder / "vehicles_mit.json"
    study = json.loads(file.read_text())["studies"][STUDY]
    return DemoBatch(
        name="vehicles",
        about="25 items; people decide, replayed from a real study",
        judge=f"replay:{file}#{STUDY},seed={SEED}",
        texts=[EssayText(item, text=item) for item in study["items"]],
        task="Which of the two is more of a vehicle?",
        expected_state="COMPLETED",
        outcomes=frozenset({"completed", "result"}),
        scale=Scale("the published scale", dict(zip(study["items"], study["published_sirt"]["theta"], strict=True))),
    )


def _essays(folder: Path) -> DemoBatch:
    qualities = folder / "qualities.csv"
    return DemoBatch(
        name="essays",
        about="16 essays on one question; a simulated judge with some noise",
        judge=f"simulated:qualities={qualities},seed={SEED}",
        texts=read_texts(folder),
        task=(folder / "task.md").read_text(encoding="utf-8"),
        expected_state="COMPLETED",
        outcomes=frozenset({"completed", "result"}),
        scale=Scale("their author's grading", read_qualities(qualities)),
    )


def _trouble(folder: Path) -> DemoBatch:
    return DemoBatch(
        name="trouble",
        about="12 texts; a judge that fails with most pairs",
        judge=f"simulated:failures=0.8,seed={SEED}",
        texts=read_texts(folder),
        expected_state="FAILED",
        outcomes=frozenset({"failed"}),
    )
