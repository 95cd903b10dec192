"""The judgements of a batch, from the web views, for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cj_stream.cli.shared.rendering import cost_text
from cj_stream.cli.shared.views_client import ViewsClient
from cj_stream.domain.policy import SECONDS, UNITS
from cj_stream.scoring.estimation.data import Comparisons, Judges
from cj_stream.scoring.pairing.pairing import PairingPolicy

Answer = Mapping[str, Any]


class BatchData(NamedTuple):
    """What a batch has come to so far.

    Attributes:
        items: ids of the essays that take part, best first by the batch's own newest fit.
        data: the verdicts, in the order in which their comparisons were planned.
        judges: provider and model of each verdict.
        facts: what there is to know of the batch, pairs of a name and a value.
        settings: what it was judged by, pairs of a name and a value with its unit.
        warnings: what limits the result.
        adaptive: whether pairs were chosen in the light of earlier verdicts.

    """

    items: tuple[str, ...]
    data: Comparisons
    judges: Judges
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    adaptive: bool


async def batch_data(client: ViewsClient, batch_id: str) -> BatchData:
    """Ask for everything about the newest run of a batch. Raises `ViewError`, also when it has no scores yet."""
    result, detail = await client.result(batch_id), await client.batch(batch_id)
    rows = await client.verdicts(batch_id, result["run"])
    items = tuple(row["essay_id"] for row in result["ranking"])
    index = {name: place for place, name in enumerate(items)}
    triples = [(index[row["essay_a_id"]], index[row["essay_b_id"]], float(row["winner"] == "Essay A")) for row in rows]
    return BatchData(
        items,
        Comparisons.from_triples(len(items), triples),
        _judges(rows),
        tuple(_facts(result, detail)),
        tuple(_settings(detail)),
        tuple(_warnings(result, len(rows))),
        _adaptive(rows, detail["policy"]),
    )


def _judges(rows: Sequence[Answer]) -> Judges:
    told = [" ".join(str(row[part]) for part in ("provider", "model") if row[part]) for row in rows]
    names = tuple(sorted(set(told)))
    return Judges(names, np.array([names.index(name) for name in told], dtype=np.int64))


def _adaptive(rows: Sequence[Answer], policy: Answer) -> bool:
    beyond = any(row["iteration"] > policy["random_iterations"] for row in rows)
    return beyond and policy["judging"]["pairing"] != PairingPolicy.RANDOM


def _facts(result: Answer, detail: Answer) -> list[tuple[str, str]]:
    reliability = result["reliability"]["eap"]
    return [
        ("batch, run", f"{result['batch_id']}, {result['run']}"),
        ("state", result["state"]),
        ("stopped because", str(result["stop_reason"] or "not stopped").replace("_", " ")),
        ("iterations of pairing", str(result["iterations"])),
        ("comparisons planned, failed", f"{result['comparisons']}, {detail['failed_comparisons']}"),
        ("EAP reliability of the batch's newest fit", "-" if reliability is None else f"{reliability:.2f}"),
        ("verdicts in that fit", str(result["verdicts"])),
        ("judged by", "; ".join(judge["name"] for judge in result["judged_by"]) or "nobody"),
        ("cost", cost_text(result) or "unknown"),
        ("tokens, in and out", f"{result.get('input_tokens', 0)}, {result.get('output_tokens', 0)}"),
    ]


def _settings(detail: Answer) -> list[tuple[str, str]]:
    policy = dict(detail["policy"])
    settings = policy.pop("judging") | policy
    return [
        *((name.replace("_", " "), _told(value, UNITS.get(name, ""))) for name, value in settings.items()),
        ("seed of the pairing", str(detail["processing_metadata"]["seed"])),
        ("digest of the request", str(detail["processing_metadata"]["digest"])),
    ]


def _told(value: object, unit: str) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if unit == SECONDS and isinstance(value, int | float):
        return f"{value:,.15g} s ({value / 3600:.4g} h)"
    return f"{value} {unit}".rstrip()


def _warnings(result: Answer, verdicts: int) -> list[str]:
    told = list(result["cautions"])
    if not result["final"]:
        told.append(f"The batch is {result['state']}: this ranking is provisional.")
    if verdicts != result["verdicts"]:
        told.append(
            f"The scores rest on {verdicts} verdicts, those of the batch's newest fit on {result['verdicts']}: "
            "theirs may differ a little."
        )
    told += [
        f"Judges noticed {str(essay['flag']).replace('_', ' ')} in the essay {essay['essay_id']}, "
        f"in {essay['verdicts']} verdict(s): read it before you trust its rank."
        for essay in result.get("flagged_essays", ())
    ]
    return told + [
        f"The essay {essay['essay_id']} could not be ranked: {essay['reason']}" for essay in result["failed_essays"]
    ]
