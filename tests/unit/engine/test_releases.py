from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.domain.story import Story, requested

from cj_stream.domain.batch import Batch
from cj_stream.engine.releases import Releases

Released = list[tuple[int, int, list[Batch]]]


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(4)
    return story


@pytest.fixture
def released() -> Released:
    return []


@pytest.fixture
def releases(released: Released) -> Releases[Batch]:
    return Releases(lambda partition, position, batches: released.append((partition, position, batches)))


def test_a_batch_is_held_until_the_offset_that_changed_it_is_committed(
    story: Story, releases: Releases[Batch], released: Released
) -> None:
    releases.hold(0, 7, [story.batch])
    assert released == []
    releases.committed({0: 7})
    assert released == [(0, 7, [])], "a committed position is the next offset to be read: 7 itself is not in it"
    releases.committed({0: 8})
    assert released[1:] == [(0, 8, [story.batch])]


def test_a_commit_releases_every_batch_as_it_was_last_before_it(
    story: Story, releases: Releases[Batch], released: Released
) -> None:
    first = story.batch
    story.tell(story.acceptance(0))
    second = story.batch
    story.tell(story.verdict(0))
    third = story.batch
    story.tell(requested(1, batch_id="another"))
    other = story.batches.newest("another")
    assert other is not None
    for offset, batches in enumerate([[first], [second, other], [third]], start=5):
        releases.hold(0, offset, batches)
    releases.committed({0: 7})
    assert released == [(0, 7, [second, other])]
    releases.committed({0: 8})
    assert released[1:] == [(0, 8, [third])]


def test_nothing_is_released_twice(story: Story, releases: Releases[Batch], released: Released) -> None:
    releases.hold(0, 7, [story.batch])
    releases.committed({0: 8})
    releases.committed({0: 9})
    assert released == [(0, 8, [story.batch]), (0, 9, [])]


def test_the_offsets_of_partitions_have_nothing_to_do_with_each_other(
    story: Story, releases: Releases[Batch], released: Released
) -> None:
    releases.hold(0, 7, [story.batch])
    releases.hold(1, 2, [story.batch])
    releases.committed({1: 100})
    assert released == [(1, 100, [story.batch])]
    releases.committed({0: 8, 1: 101})
    assert released[1:] == [(0, 8, [story.batch]), (1, 101, [])]


def test_runs_of_one_batch_are_released_side_by_side(
    story: Story, releases: Releases[Batch], released: Released
) -> None:
    run_1 = story.batch
    run_2 = Batch(roster=replace(run_1.roster, run=2), control=run_1.control)
    releases.hold(0, 1, [run_1])
    releases.hold(0, 2, [run_2])
    releases.committed({0: 3})
    assert [batch.run for batch in released[0][2]] == [1, 2]


def test_what_is_held_for_a_lost_partition_is_forgotten(
    story: Story, releases: Releases[Batch], released: Released
) -> None:
    releases.hold(0, 7, [story.batch])
    releases.hold(1, 7, [story.batch])
    releases.drop([0, 5])
    releases.committed({0: 8, 1: 8})
    assert released == [(0, 8, []), (1, 8, [story.batch])]
