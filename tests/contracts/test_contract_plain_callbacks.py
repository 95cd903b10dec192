"""A callback in the provider's own spelling is read in a quarter of the time, and never otherwise than any other."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest
from fuzz import readings
from fuzz.readings import ODD, Differs, compare, compare_all, odd_values
from msgspec.structs import replace
from support.wire.contract_samples import CALLBACKS, expectations, on_topic, raw

from cj_stream.contracts import callback_reader

SEEDS = 3_000
PLAIN = {
    "callback_duplicate_new_request_id.json",
    "callback_error_rate_limit.json",
    "callback_error_service_code.json",
    "callback_error_timeout.json",
    "callback_error_unknown_code.json",
    "callback_essay_b.json",
    "callback_success.json",
}


def test_the_samples_in_the_current_form_are_read_plainly_and_all_are_read_alike() -> None:
    readers = {name: compare(raw(name)) for name in on_topic(CALLBACKS)}
    assert {name for name, reader in readers.items() if reader == "plainly"} >= PLAIN
    assert set(readers.values()) == {"plainly", "leniently"}


@pytest.mark.parametrize("name", [name for name, topic, *_ in expectations() if topic == "callback"])
def test_no_sample_that_is_to_be_refused_is_read_plainly(name: str) -> None:
    assert compare(raw(f"invalid/{name}")) != "plainly"


@pytest.mark.parametrize("path", ODD)
def test_any_value_at_any_place_is_read_alike(path: str) -> None:
    readers = Counter(compare(value) for name in sorted(PLAIN) for value in odd_values(name, path))
    assert ("plainly" in readers) == (path != "data")


def test_callbacks_with_several_oddities_are_read_alike_and_many_of_them_plainly() -> None:
    readers = compare_all(0, SEEDS)
    assert readers.total() == SEEDS
    assert readers.keys() == {"plainly", "leniently", "refused", "no object"}
    assert min(readers.values()) > SEEDS // 10
    assert readers["plainly"] > SEEDS // 5


@pytest.mark.parametrize(
    ("name", "careless"),
    [
        ("_MICROSECONDS", 30),
        ("_is_plain", lambda _: True),
        ("_PLAIN_SLOTS", {"Essay A": "B", "Essay B": "B"}),
        ("_NO_ECHO", callback_reader._PlainEcho(bos_batch_id="guessed")),
    ],
)
def test_a_careless_reader_is_found_and_the_seed_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, careless: object
) -> None:
    monkeypatch.setattr(callback_reader, name, careless)
    with pytest.raises(Differs, match=r"python -m fuzz\.readings \d+$"):
        compare_all(0, SEEDS)


def test_a_result_that_is_equal_but_not_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = callback_reader.read_plain

    def in_another_zone(moment: datetime | None) -> datetime | None:
        return moment and moment.astimezone(timezone(timedelta(hours=1)))

    def careless(document: dict[str, object]) -> callback_reader.Callback | None:
        callback = read(document)
        return None if callback is None else replace(callback, published_at=in_another_zone(callback.published_at))

    monkeypatch.setattr(readings, "read_plain", careless)
    with pytest.raises(Differs):
        compare_all(0, SEEDS)
