from __future__ import annotations

import pytest

from cj_stream.engine.standing import WHY_LIMIT, Mark, Standing, read_mark, read_topic_id

TOPIC_ID = "0c3cf2f4-31ab-4c1e-9d3a-6f6f0a1f7a11"


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = Mark(1_700_000_000.5, 'its checksum is "wrong"')
    assert read_mark(mark.beside("")) == mark
    beside = mark.beside(TOPIC_ID)
    assert (read_topic_id(beside), read_mark(beside)) == (TOPIC_ID, mark)


def test_a_reason_of_any_length_fits_beside_an_offset() -> None:
    encoded = Mark(1.0, "é" * 5000).beside(TOPIC_ID)
    assert len(encoded.encode()) < 4096
    found = read_mark(encoded)
    assert found is not None
    assert len(found.why) <= WHY_LIMIT


@pytest.mark.parametrize("metadata", ["", TOPIC_ID, "by hand", "id\n{}", 'id\n{"standing_since": "long ago"}', "\x00"])
def test_what_others_commit_beside_an_offset_is_no_mark(metadata: str) -> None:
    assert read_mark(metadata) is None


def test_a_changelog_is_told_apart() -> None:
    source = Standing("callbacks", 1, 7, 9, "why", False, 0.0, None, "cj-stream partitions step-over")
    changelog = Standing("changelog", 1, 7, 9, "why", True, 0.0, None, "cj-stream partitions step-over")
    assert "all workers stopped" in changelog.what
    assert "all workers stopped" not in source.what
    assert "is read" in source.meaning
    assert "rebuilt" in changelog.meaning
