from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cj_stream.dead_letters.naming import names_any
from cj_stream.engine.dead_letter_topic import KeptLetter
from cj_stream.engine.dead_letters import Letter

MOMENT = datetime(2026, 3, 4, 9, 12, tzinfo=UTC)


def kept(value: bytes | None = b"{}", key: bytes | None = None, **headers: bytes) -> KeptLetter[Any]:
    return KeptLetter(5, MOMENT, None, record=Letter(key, value, list(headers.items())))


@pytest.mark.parametrize(
    "letter",
    [
        kept(b'{"entity_id": "pupil 7", '),
        kept(b"{}", key=b"pupil 7"),
        kept(None, batch=b"pupil 7"),
        kept(b"\xff pupil 7"),
        kept(msgspec.msgpack.encode({"user": "pupil 7"})),
    ],
)
def test_an_id_is_found_wherever_it_stands(letter: KeptLetter[Any]) -> None:
    assert names_any(letter, {"another", "pupil 7"})


@pytest.mark.parametrize("spelled", ['{"id": "elev å"}', '{"id": "elev \\u00e5"}'])
def test_an_id_is_found_in_each_way_that_json_can_spell_it(spelled: str) -> None:
    assert names_any(kept(spelled.encode()), {"elev å"})


def test_an_id_that_is_a_part_of_a_longer_one_is_another() -> None:
    for value in (b'"batch-17"', b'"my-batch-1"', b'"batch-1_b"', b'"Xbatch-1"'):
        assert not names_any(kept(value), {"batch-1"})
    assert names_any(kept(b'"batch-1"'), {"batch-1"})


def test_signs_that_mean_something_to_a_search_are_letters_of_the_id() -> None:
    assert not names_any(kept(b"abc"), {"a.c", ".*"})
    assert names_any(kept(b"say .* here"), {".*"})


def test_what_cannot_be_read_names_nothing() -> None:
    assert not names_any(KeptLetter(6, MOMENT, None, "it cannot be read"), {"a"})
