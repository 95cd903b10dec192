from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cj_stream.engine import checksums

ROWS = st.dictionaries(st.binary(max_size=8), st.binary(max_size=20), max_size=8)


@given(ROWS)
def test_the_order_of_the_rows_does_not_matter(rows: dict[bytes, bytes]) -> None:
    assert checksums.of_rows(rows.items()) == checksums.of_rows(reversed(rows.items()))


@given(ROWS, st.binary(max_size=8), st.none() | st.binary(max_size=20))
def test_kept_up_to_date_it_is_that_of_the_rows_there_are(
    rows: dict[bytes, bytes], key: bytes, value: bytes | None
) -> None:
    kept = checksums.replaced(checksums.of_rows(rows.items()), key, rows.get(key), value)
    changed = {**rows, key: value}
    assert kept == checksums.of_rows((key, value) for key, value in changed.items() if value is not None)


def test_it_tells_a_lost_row_a_lost_update_and_a_lost_deletion_apart_from_nothing_lost() -> None:
    rows = {b"a": b"1", b"b": b"2"}
    others = [{b"a": b"1"}, {b"a": b"1", b"b": b"1"}, {**rows, b"c": b"3"}, {b"b": b"1", b"a": b"2"}, {}]
    assert len({checksums.of_rows(found.items()) for found in (rows, *others)}) == len(others) + 1


def test_updates_of_the_same_kind_that_are_lost_together_do_not_cancel_out() -> None:
    """As those of a CRC may: the same bytes change in the same way."""
    was = {b"%d" % number: b"status 1 of row %d" % number for number in range(300)}
    now = {key: value.replace(b"status 1", b"status 2") for key, value in was.items()}
    pairs = [(first, second) for first in was for second in was if first < second]
    whole = checksums.of_rows(now.items())
    for first, second in pairs:
        lost = checksums.replaced(whole, first, now[first], was[first])
        assert checksums.replaced(lost, second, now[second], was[second]) != whole


def test_it_is_written_in_eight_bytes() -> None:
    assert checksums.encode(2**64 - 1) == b"\xff" * 8
    assert checksums.encode(258) == bytes([0, 0, 0, 0, 0, 0, 1, 2])
