"""Compares the two ways to read a callback: where the plain one takes a message, the lenient one reads the same.

PYTHONPATH=tests .venv/bin/python -m fuzz.readings 4711              # replay one seed, and show its message
PYTHONPATH=tests .venv/bin/python -m fuzz.readings 0 --seeds 100000  # these 100,000
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from fuzz.mutations import anything, damaged, message
from support.wire.contract_samples import CALLBACKS, document, on_topic

from cj_stream.contracts.callback_reader import Callback, read_callback, read_leniently, read_plain
from cj_stream.contracts.envelope import read_object
from cj_stream.contracts.refusal import Refused

_UUID = "38f2536d-662e-47cd-8377-48fed20c5b1f"
_SECOND = "2026-03-04T09:12:08"


class Raw(str):
    """JSON as it stands in a message, so that it may say what no Python value says."""

    __slots__ = ()


UUIDS: tuple[Any, ...] = (
    *(_UUID, _UUID.upper(), _UUID.title(), _UUID.replace("-", ""), f"{{{_UUID}}}", f"urn:uuid:{_UUID}", f"({_UUID})"),
    *(f" {_UUID}", f"{_UUID}\n", _UUID[:-1], f"{_UUID}0", _UUID.replace("-", "", 1), _UUID.replace("-", "--", 1)),
    *(_UUID.replace("3", "g"), _UUID.replace("3", "\uff13"), _UUID.replace("-", "\u2010"), _UUID.replace("-", "_")),
    *("0" * 32, "f" * 32, f"{0:08}-0000-0000-0000-{0:012}", "", " ", 17, 2**127, True, [], {}, None),
    *(Raw(json.dumps(_UUID).replace("-", r"\u002d")), Raw(json.dumps(_UUID)[:-1] + r'\u0000"')),
)
TIMES: tuple[Any, ...] = (
    *(
        f"{_SECOND}{fraction}Z"
        for fraction in ("", ".", ".0", ".3", ".377112", ".3771125", ".3771126", ".999999999", ",5", ".5 ")
    ),
    *(f"{_SECOND}{zone}" for zone in ("", "z", "+00:00", "-00:00", "+0000", "+00", "+05:30", "-23:59", "+24:00", " Z")),
    *(f"{_SECOND}{zone}" for zone in (".1234567", ".12345678", ".1+00:00", ".1-05:30", ".123456+05:30", " +01:00")),
    *(_SECOND.replace("T", between) + "Z" for between in ("t", " ", "_", "", "TT")),
    *(_SECOND.replace("09:12:08", clock) + "Z" for clock in ("24:00:00", "23:59:60", "09:12", "0912", "9:12:08", "09")),
    *(
        f"{day}T00:00:00Z"
        for day in ("0000-01-01", "0001-01-01", "2026-02-29", "2024-02-29", "2026-13-01", "9999-12-31")
    ),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2026-03-04", "20260304T091208Z", "2026-W10-3T09:12Z"),
    *(f" {_SECOND}Z", f"{_SECOND}Z ", "+002026-03-04T09:12:08Z", _SECOND.replace("2", "\u0662") + "Z", "now", ""),
    *(1772615520, 1772615520.5, 1772615520000, -1, 0, 1e20, "1772615520", "-1.5", True, None, [], {}),
)
NUMBERS: tuple[Any, ...] = (
    *(1, 5, 4.2, 1.0, 5.0, 0, -1, 6, 0.9999999999999999, 5.000000000000001, 4.0, 2**53 + 1, 2**63, 2**64, 10**400),
    *(
        Raw(text)
        for text in ("1e0", "10E-1", "0.1e1", "5.0000000000000000000001", "0.99999999999999999999", "-0", "4.")
    ),
    *(Raw(text) for text in ("1e400", "-1e400", "01", "+1", "NaN", "Infinity", "0x1", "1_0", "4" * 400, "4" * 5_000)),
    *("4.5", " 3 ", "4,5", "1_0", "nan", "inf", "high", "", "0x3", "\u0664", True, False, None, [], [4], {}),
)
TEXTS: tuple[Any, ...] = (
    *(
        "x",
        "å" * 10,
        "",
        " ",
        "\t",
        "\xa0",
        "\u2003",
        "\u200b",
        "\u202e",
        "a b",
        " a",
        "a\x00",
        "\x00",
        "\x1b[2J",
        "\x7f",
    ),
    *("\U0001f600", "e\u0301", "x" * 255, "x" * 256, "å" * 255, "\U0001f600" * 256, "\x85", "\ufeff", "\xad", "\ue000"),
    *("x" * size for size in (500, 501, 1_999, 2_000, 2_001, 10_000, 65_536, 65_537)),
    *("\U0001f600" * size for size in (2_000, 2_001, 16_384, 16_385)),
    *(
        Raw(text)
        for text in (r'"\ud83d\ude00"', r'"\ud800"', r'"\ude00\ud83d"', r'"\u0000"', r'"\/"', r'"\x"', '"\x01"')
    ),
    *(5, 5.5, True, None, [], ["x"], {}, {"x": 1}),
)
WINNERS: tuple[Any, ...] = (
    *(
        "Essay A",
        "Essay B",
        "essay a",
        "ESSAY_B",
        " Essay A",
        "Essay A\n",
        "Essay_A",
        "Error",
        "error ",
        "Essay C",
        "A",
    ),
    *("Essay\u00a0A", "", None, True, 1, [], ["Essay A"], {"Essay A": 1}, Raw(r'"\u0045ssay A"')),
)
ERRORS: tuple[Any, ...] = (
    *({"error_code": code, "message": "No answer"} for code in TEXTS),
    *({"error_code": "TIMEOUT", "message": text} for text in TEXTS),
    *({"error_code": "TIMEOUT"}, {"message": "No answer"}, {"error_code": "TIMEOUT", "news": 1}, {}, [], "x", None, 0),
)
ECHOES: tuple[Any, ...] = (
    *({"essay_a_id": text, "essay_b_id": "b", "bos_batch_id": "c", "news": 1} for text in TEXTS),
    *({}, {"bos_batch_id": "c"}, [], [["essay_a_id", "x"]], "echo", None, 0),
)
ODD: dict[str, tuple[Any, ...]] = {
    "correlation_id": UUIDS,
    "event_timestamp": TIMES,
    "data": (None, [], {}, "data", 0),
    "data.correlation_id": UUIDS,
    "data.winner": WINNERS,
    "data.confidence": NUMBERS,
    "data.justification": TEXTS,
    "data.provider": TEXTS,
    "data.model": TEXTS,
    "data.error_detail": ERRORS,
    "data.request_metadata": ECHOES,
    "data.token_usage": (*NUMBERS, *TEXTS),
    "news": (*NUMBERS, *TEXTS),
    "data.news": (*NUMBERS, *TEXTS),
}
"""What may stand at a place of a message, beside what the samples have there."""


_ABSENT = object()


class Differs(Exception):  # noqa: N818 (the message says it all)
    """The two readings of a message differ. The text has both, the message, and the command that replays it."""


def odd_values(name: str, path: str) -> Iterator[bytes]:
    """Return a sample with each odd value at a place, and without anything there."""
    *above, last = path.split(".")
    for odd in (*ODD[path], _ABSENT):
        members = document(name)
        place = members[above[0]] if above else members
        if odd is _ABSENT:
            place.pop(last, None)
        else:
            place[last] = odd
        yield _encoded(_json(Random(0), members))


def callback(chance: Random) -> bytes:
    """Return a message for the callback topic: plain, odd in some places, or hostile."""
    if chance.random() < 0.2:
        return message(chance, CALLBACKS) or b""
    members = document(chance.choice(on_topic(CALLBACKS)))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        _change(chance, members)
    value = _written(chance, members)
    return damaged(chance, value) if chance.random() < 0.05 else value


def _change(chance: Random, members: dict[str, Any]) -> None:
    path = chance.choice(list(ODD))
    *above, last = path.split(".")
    place = members.get(above[0]) if above else members
    if not isinstance(place, dict):
        return
    if chance.random() < 0.1:
        place.pop(last, None)
    else:
        place[last] = anything(chance) if chance.random() < 0.1 else chance.choice(ODD[path])


def _written(chance: Random, members: dict[str, Any]) -> bytes:
    text = _json(chance, members)
    if chance.random() < 0.03:
        text = chance.choice(("\ufeff", " \n", "\t", "\x00", "")) + text + chance.choice(("\r\n", " ", "{}", ","))
    return _encoded(text)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _json(chance: Random, value: object) -> str:
    if isinstance(value, Raw):
        return str(value)
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=chance.random() < 0.5)
    pairs = [(key, _json(chance, child)) for key, child in value.items()]
    if pairs and chance.random() < 0.05:  # a key that is there twice, before or behind
        key, odd = chance.choice(pairs)[0], ODD.get(f"data.{pairs[0][0]}", TEXTS)
        pairs.insert(chance.choice((0, len(pairs))), (key, _json(chance, chance.choice((*odd, *ODD.get(key, ()))))))
    if chance.random() < 0.1:
        chance.shuffle(pairs)
    blank = chance.choice(("", "", " ", "\n", "\t "))
    return "{" + blank + ",".join(f"{_key(chance, key)}{blank}:{blank}{text}" for key, text in pairs) + "}"


def _key(chance: Random, key: str) -> str:
    written = json.dumps(key)
    if key and chance.random() < 0.01:  # the same key, and not the same
        return chance.choice(
            (f'"\\u{ord(key[0]):04x}{written[2:]}', json.dumps(key.upper()), f'{written[:-1]}\\u0000"')
        )
    return written


def compare(value: bytes) -> str:
    """Return who reads a message: ``plainly``, ``leniently``, or ``refused``. Raises `Differs`."""
    try:
        parsed = read_object(value)
    except Refused:
        return "no object"
    plain, lenient, read = read_plain(parsed), _outcome(read_leniently, parsed), _outcome(read_callback, value)
    if repr(read) != repr(lenient) or (plain is not None and (plain != lenient or repr(plain) != repr(lenient))):
        raise Differs(f"plainly: {plain!r}\nleniently: {lenient!r}\nread: {read!r}")
    return "plainly" if plain is not None else "leniently" if isinstance(lenient, Callback) else "refused"


def _outcome(read: Callable[[Any], Callback], value: object) -> Callback | str:
    try:
        return read(value)
    except Refused as refused:
        return f"{refused} {refused.field} {refused.correlation_id} {refused.answerable}"


def compare_all(first: int, count: int) -> Counter[str]:
    """Compare the readings of ``count`` seeds from ``first`` on; returns who read how many. Raises `Differs`."""
    found: Counter[str] = Counter()
    for seed in range(first, first + count):
        value = callback(Random(seed))
        try:
            found[compare(value)] += 1
        except Exception as error:
            replay = f"PYTHONPATH=tests .venv/bin/python -m fuzz.readings {seed}"
            raise Differs(f"{value[:3_000]!r}\n{type(error).__name__}: {error}\n{replay}") from error
    return found


def main() -> None:
    """Compare the readings of the seeds that the command line names."""
    parser = argparse.ArgumentParser(description="Compare the two ways to read a callback.")
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds from there on")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        found = compare_all(options.seed, options.seeds)
    except Differs as differs:
        sys.exit(str(differs))
    if options.seeds == 1:
        print(callback(Random(options.seed))[:3_000])  # noqa: T201 (a command's output)
    counts = ", ".join(f"{count} {who}" for who, count in found.most_common())
    print(f"{options.seeds} callbacks in {time.monotonic() - started:.0f} s: {counts}")  # noqa: T201 (as above)


if __name__ == "__main__":
    main()
