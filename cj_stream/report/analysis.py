"""What a report is about: judgements with their origin, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.quality.marks import Grading, MarkScale
from cj_stream.scoring.quality.quality import Quality


@dataclass(frozen=True, eq=False)
class Marking:
    """The marks and grades that were asked for.

    Attributes:
        scale: the mapping to marks, None when there are none.
        origin: how it was laid, in words.
        grading: the grades, None when there are none.

    """

    scale: MarkScale | None = None
    origin: str = ""
    grading: Grading | None = None


@dataclass(frozen=True, eq=False)
class Analysis:
    """A set of judgements, scored and assessed.

    Attributes:
        title: what was judged: the name of a file, or the id of a batch.
        items: (n,) names of the items.
        data: the comparisons, in the order in which they were made.
        ordered: whether the first item of a comparison is known to be the one presented first.
        fit: the scores.
        quality: how good they are.
        marking: marks and grades.
        facts: further pairs of a name and a value, such as why a batch stopped.
        settings: what the batch was judged by, pairs of a name and a value with its unit.
        warnings: what limits the result, one sentence each.
        adaptive: whether pairs were chosen in the light of earlier verdicts; None when that is not known.
        seed: of the random splits and rank intervals.

    """

    title: str
    items: tuple[str, ...]
    data: Comparisons
    ordered: bool
    fit: Fit
    quality: Quality
    marking: Marking
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    adaptive: bool | None
    seed: int
