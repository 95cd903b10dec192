"""The wire samples: one file per message or body, with the tables that say what is to become of each."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "contracts" / "samples"
REQUESTS = "huleedu.els.cj_assessment.requested.v1"
CALLBACKS = "huleedu.llm_provider.comparison_result.v1"
MAX_ESSAYS = 2000
ABSENT = object()

INDEX: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "index.json").read_text())
CONTENT: dict[str, str] = json.loads((FOLDER / "content.json").read_text())


def raw(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(raw(name))
    return loaded


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def with_value(original: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a copy of ``original`` with the field at the dotted ``path`` set, or removed for ``ABSENT``."""
    changed = copy.deepcopy(original)
    *steps, last = path.split(".")
    place: Any = changed
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is ABSENT:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return changed


def changed_sample(name: str, path: str, value: object) -> bytes:
    return encoded(with_value(document(name), path, value))


def on_topic(topic: str) -> list[str]:
    return [entry["file"] for entry in INDEX["samples"] if entry.get("topic") == topic]


def expectations() -> list[tuple[str, str, str, str]]:
    """Return the rows of EXPECT.md: file, topic, platform's model, failed event."""
    rows = (
        line.split("|")[1:-1] for line in (FOLDER / "invalid/EXPECT.md").read_text().splitlines() if line[:1] == "|"
    )
    cells = ([cell.strip() for cell in row] for row in rows)
    return [(c[0], c[1], c[3].strip("*"), c[4]) for c in cells if c[0].endswith(".json")]
