"""Who judged a batch, as the views tell it, and what has to be said before anybody trusts the ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from cj_stream.domain.verdict_sources import Judged, VerdictSource

_CAUTIONS = {
    VerdictSource.SIMULATED: "{share} simulated: no judge has read the essays, and the ranking says nothing about "
    "them.",
    VerdictSource.RECORDED: "{share} recorded earlier and only repeated here: no judge has read the essays for this "
    "batch.",
    VerdictSource.UNKNOWN: "{share} given by an unknown judge: the provider did not say who judged.",
}


def shown_judges(judges: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return who judged, each with the number of verdicts and a name for people."""
    return [
        {
            "source": judged.source.value,
            "provider": judged.provider or None,
            "model": judged.model or None,
            "verdicts": judged.verdicts,
            "name": _name(judged),
        }
        for judged in judges
    ]


def cautions(judges: Sequence[Judged]) -> list[str]:
    """Return a sentence for each source of verdicts that is no model: that they are made up, repeated, or unknown."""
    return list(_cautions(judges))


def _cautions(judges: Sequence[Judged]) -> Iterator[str]:
    counts: Counter[VerdictSource] = Counter()
    for judged in judges:
        counts[judged.source] += judged.verdicts
    for source, sentence in _CAUTIONS.items():
        if counts[source]:
            yield sentence.format(share=_share(counts[source], counts.total()))


def _share(count: int, total: int) -> str:
    if count == total:
        return f"All {total} verdicts were" if total > 1 else "The one verdict was"
    return f"{count} of {total} verdicts were"


def _name(judged: Judged) -> str:
    if judged.source is VerdictSource.UNKNOWN:
        return judged.source.value
    names = " ".join(name for name in (judged.provider, judged.model) if name)
    return names if judged.source is VerdictSource.MODEL else f"{judged.source} ({names})"
