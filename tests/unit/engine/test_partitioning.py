from __future__ import annotations

import pytest

from cj_stream.engine.partitioning import home_partition

# From the tests of Apache Kafka's own clients (UtilsTest.testMurmur2): text and its murmur2 hash, signed.
KAFKA_HASHES = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize("text", KAFKA_HASHES)
@pytest.mark.parametrize("partitions", [1, 8, 12, 4096])
def test_a_batch_lives_where_kafka_s_default_partitioner_would_put_its_key(text: str, partitions: int) -> None:
    assert home_partition(text, partitions) == (KAFKA_HASHES[text] & 0x7FFFFFFF) % partitions


def test_ids_are_hashed_as_utf_8() -> None:
    assert 0 <= home_partition("körsbär \N{CHERRIES}", 8) < 8
