"""Messages made hostile: contract samples with damaged bytes, and with anything in any place of their JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

from support.wire.contract_samples import CALLBACKS, REQUESTS, expectations, on_topic, raw
from support.wire.event_log import EVENTS

from cj_stream.contracts.event_log import encode_event
from cj_stream.engine.messages import encode_message

Path = list[str | int]

_INVALID = [f"invalid/{name}" for name, *_ in expectations()]
SAMPLES = {topic: [*on_topic(topic), *_INVALID] for topic in (REQUESTS, CALLBACKS)}
"""The samples that messages on each topic are made from: its own, and those that are to be refused."""

_TEXTS = ("", " ", "\x00", "nan", "1e400", "Essay A", "Error", "true", "ANCHOR_1", "\u202e", "\x1b[2J", "{}", "å" * 300)
_NUMBERS = (0, -1, 0.1, 1e308, 5e-324, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, True)
_IDS = ("0c3cf2f4-31ab-8c1e-9d3a-6f6f0a1f7a11", "{0C3CF2F4-31AB-8C1E-9D3A-6F6F0A1F7A11}", "0" * 32, "f" * 32)
_RAW = ("1e400", "-0", "NaN", "01", "9" * 5_000, r'"\ud800"', r'"\u0000"', "[" * 2_000 + "]" * 2_000, "1.", "'a'", "")
_PLACE = "a place for raw JSON"
_BYTES = (
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\r\n",
    b'"',
    b"\\",
    b"{",
    b"]",
    b",",
    b"\x1b[31m",
)
_BULKS = (1_000, 70_000, 300_000, 524_288, 700_000)


def message(chance: Random, topic: str) -> bytes | None:
    """Return a message for ``topic``."""
    if chance.random() < 0.02:
        return chance.choice((None, None, b"", chance.randbytes(chance.randint(1, 2_000))))
    value = _changed_document(chance, topic) if chance.random() < 0.7 else raw(chance.choice(SAMPLES[topic]))
    for _ in range(chance.choice((0, 0, 0, 0, 0, 1, 2, 8))):
        value = damaged(chance, value)
    return value


def internal_message(chance: Random) -> bytes:
    """Return a message for the log of events: the story of a batch, with damage to some events or to the whole."""
    story = [encode_event(event) for event in EVENTS]
    value = encode_message([damaged(chance, event) if chance.random() < 0.3 else event for event in story])
    return damaged(chance, value) if chance.random() < 0.3 else value


def _changed_document(chance: Random, topic: str) -> bytes:
    document = json.loads(raw(chance.choice(on_topic(topic))))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 10))):
        document = _changed(chance, document)
    return _written(chance, document)


def _changed(chance: Random, document: Any) -> Any:
    paths = _paths(document)
    *steps, last = path = chance.choice(paths) or [""]
    if path == [""]:
        return anything(chance) if chance.random() < 0.05 else document
    place = _at(document, steps)
    match chance.randrange(6):
        case 0:
            del place[last]
        case 1:  # what stands somewhere else, as it is there
            place[last] = copy.deepcopy(_at(document, chance.choice(paths)))
        case 2 if isinstance(place, dict):
            place[chance.choice((str(last).upper(), f"{last} ", _text(chance)))] = place.pop(last)
        case 3 if isinstance(place[last], list):
            place[last] = [copy.deepcopy(item) for item in place[last] for _ in range(chance.choice((2, 3, 500)))]
        case _:
            place[last] = anything(chance)
    return document


def anything(chance: Random, depth: int = 3) -> Any:
    """Return a value that may stand anywhere in a document."""
    kinds: list[Callable[[], Any]] = [
        lambda: _text(chance),
        lambda: chance.choice(_NUMBERS),
        lambda: chance.choice(_IDS),
        lambda: chance.choice((None, chance.uniform(-10, 10), chance.randint(-(10**20), 10**20))),
        lambda: "x" * (chance.choice(_BULKS) if chance.random() < 0.1 else chance.randrange(12_000)),
        lambda: _PLACE,
    ]
    if depth:
        kinds.append(lambda: [anything(chance, depth - 1) for _ in range(chance.randrange(4))])
        kinds.append(lambda: {_text(chance): anything(chance, depth - 1) for _ in range(chance.randrange(4))})
    return chance.choice(kinds)()


def _text(chance: Random) -> str:
    if chance.random() < 0.5:
        return chance.choice(_TEXTS)
    return "".join(
        chr(chance.choice((chance.randrange(128), chance.randrange(0xD800)))) for _ in range(chance.randrange(8))
    )


def _written(chance: Random, document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=chance.random() < 0.5, indent=chance.choice((None, None, 1)))
    while f'"{_PLACE}"' in text:
        text = text.replace(f'"{_PLACE}"', chance.choice(_RAW), 1)
    if chance.random() < 0.1:  # a key that is there twice
        at = chance.choice([i for i, char in enumerate(text) if char == "{"] or [0])
        key = chance.choice(
            ("data", "correlation_id", "winner", "entity_id", "essay_id", "event_name", "essays_for_cj")
        )
        text = f'{text[: at + 1]}"{key}": {json.dumps(anything(chance))}, {text[at + 1 :]}'
    return text.encode()


def damaged(chance: Random, value: bytes) -> bytes:
    start = chance.randint(0, len(value))
    end = min(start + chance.choice((1, 1, 4, 100)), len(value))
    match chance.randrange(6):
        case 0 if start < len(value):
            return value[:start] + bytes([value[start] ^ 1 << chance.randrange(8)]) + value[start + 1 :]
        case 1:
            return value[:start]
        case 2:
            return value[:start] + value[end:]
        case 3:
            return value[:end] + value[start:end] * chance.choice((1, 2, 2_000)) + value[end:]
        case 4:
            return value[:start] + chance.randbytes(end - start) + value[end:]
        case _:
            return value[:start] + chance.choice(_BYTES) + value[start:]


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[Path]:
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [list(path), *(found for key, child in children for found in _paths(child, (*path, key)))]


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document
