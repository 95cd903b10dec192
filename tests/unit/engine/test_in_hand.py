from __future__ import annotations

import pytest

from cj_stream.domain.todo import Effect, LoadContent, PlanPairs
from cj_stream.engine.in_hand import InHand, Job

HERE, ELSEWHERE = 3, 4
ONE, OTHER = ("one", 1), ("other", 1)
LOAD, PLAN, LOAD_OTHER = LoadContent(*ONE), PlanPairs(*ONE, 1), LoadContent(*OTHER)


@pytest.fixture
def in_hand() -> InHand[Effect]:
    return InHand()


def taken(in_hand: InHand[Effect], effect: Effect, partition: int = HERE, reported: int | None = None) -> Job[Effect]:
    job = in_hand.take(effect, (effect.batch_id, effect.run), partition)
    if reported is not None:
        in_hand.reported(job, reported)
    return job


def test_what_is_in_hand_is_found_by_its_batch(in_hand: InHand[Effect]) -> None:
    jobs = [taken(in_hand, LOAD), taken(in_hand, PLAN), taken(in_hand, LOAD_OTHER, ELSEWHERE)]
    assert (list(in_hand.of(ONE)), list(in_hand.of(OTHER)), list(in_hand.of(("none", 1)))) == (
        [LOAD, PLAN],
        [LOAD_OTHER],
        [],
    )
    assert (list(in_hand), len(in_hand)) == (jobs, 3)


def test_a_commit_lets_go_of_what_was_reported_before_its_position_in_whatever_order(in_hand: InHand[Effect]) -> None:
    late, early = taken(in_hand, LOAD, reported=7), taken(in_hand, PLAN, reported=5)
    assert in_hand.applied(HERE, 5) == []
    assert in_hand.applied(HERE, 6) == [early]
    assert list(in_hand) == [late]
    assert in_hand.applied(HERE, 8) == [late]
    assert (in_hand.applied(HERE, 9), len(in_hand)) == ([], 0)


def test_a_commit_lets_go_of_nothing_that_is_under_way_or_of_another_partition(in_hand: InHand[Effect]) -> None:
    under_way, elsewhere = taken(in_hand, LOAD), taken(in_hand, LOAD_OTHER, ELSEWHERE, reported=5)
    assert in_hand.applied(HERE, 100) == []
    assert list(in_hand) == [under_way, elsewhere]


def test_reports_of_one_message_are_let_go_together(in_hand: InHand[Effect]) -> None:
    jobs = [taken(in_hand, LOAD, reported=5), taken(in_hand, LOAD_OTHER, reported=5)]
    assert in_hand.applied(HERE, 6) == jobs


def test_a_job_is_let_go_once_and_never_for_a_later_one_of_the_same_effect(in_hand: InHand[Effect]) -> None:
    first = taken(in_hand, LOAD)
    assert in_hand.let_go(first)
    assert not in_hand.let_go(first)
    second = taken(in_hand, LOAD)
    in_hand.reported(first, 5)
    assert in_hand.applied(HERE, 6) == []
    assert list(in_hand) == [second]
