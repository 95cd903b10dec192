"""The loop always stops, and nothing is lost or counted twice on the way: properties over random judges."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from support.domain.story import FIRST, Replies, Story, requested

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import Event, VerdictReceived
from cj_stream.domain.policy import Judging, Policy
from cj_stream.domain.ranking import ranking
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import Submit
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule

policies = st.builds(
    Policy,
    comparison_deadline=st.sampled_from([600.0, 3600.0]),
    max_attempts=st.integers(1, 4),
    retry_pool_size=st.integers(1, 20),
    success_rate_from=st.sampled_from([10, 10_000]),
    min_success_rate=st.sampled_from([0.0, 0.5, 0.8]),
    completion_threshold_pct=st.integers(50, 100),
    max_iterations=st.integers(1, 5),
    comparisons_per_essay=st.integers(1, 4),
    random_iterations=st.integers(1, 3),
    max_comparisons=st.integers(1, 200),
    max_concurrent_comparisons=st.integers(1, 40),
    judging=st.builds(
        Judging,
        pairing=st.sampled_from(PairingPolicy),
        wave_size=st.none() | st.integers(1, 20),
        judgements_per_pair=st.integers(1, 2),
        stop_rules=st.sets(st.sampled_from(StopRule)).map(tuple),
        grade_boundaries=st.sampled_from([(), (0.0, "essay-0")]),
    ),
)


@dataclass(frozen=True)
class Weather:
    """How bad the provider and the network are: shares of submissions, 0 to 1, and a seed."""

    seed: int
    lost: float
    failing: float
    silent: float
    late: float
    repeated: float
    crashes: float


weathers = st.builds(
    Weather,
    seed=st.integers(0, 2**32 - 1),
    lost=st.sampled_from([0.0, 0.0, 0.02]),
    failing=st.floats(0, 0.5),
    silent=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    late=st.sampled_from([0.0, 0.2]),
    repeated=st.sampled_from([0.0, 0.3]),
    crashes=st.sampled_from([0.0, 0.02]),
)


class BadProvider:
    """A judge that is lost, refuses, errs, keeps silent, answers late or twice, its reports in any order."""

    def __init__(self, weather: Weather) -> None:
        self.random = Random(weather.seed)
        self._weather = weather

    def __call__(self, story: Story, submit: Submit) -> Replies:
        chance, weather = self.random.random, self._weather
        if chance() < weather.lost:
            return []
        if chance() < weather.failing / 2:
            return [(self._soon(), story.refusal(submit.index, submit.attempt))]
        if chance() < 0.05:
            return [(self._soon(), _immediate(submit))]
        replies: Replies = [(self._soon(), story.acceptance(submit.index, submit.attempt))]
        if chance() < weather.silent:
            return replies
        replies.append((self._answer_time(story), self._answer(story, submit)))
        while chance() < weather.repeated:
            replies.append((self._answer_time(story), self._answer(story, submit)))
        return replies

    def _soon(self) -> float:
        return self.random.uniform(0, 60)

    def _answer_time(self, story: Story) -> float:
        late = self.random.random() < self._weather.late
        return self.random.uniform(0, 120) + (story.policy.comparison_deadline if late else 0.0)

    def _answer(self, story: Story, submit: Submit) -> Event:
        if self.random.random() < self._weather.failing / 2:
            return story.error(submit.index, submit.attempt)
        return story.verdict(submit.index, "A" if self.random.random() < 0.5 else "B", submit.attempt)


def _immediate(submit: Submit) -> VerdictReceived:
    return VerdictReceived(
        batch_id=submit.batch_id, run=submit.run, index=submit.index, attempt=submit.attempt, winner="A"
    )


def check_end(batch: Batch, story: Story) -> None:
    assert batch.state in {BatchState.COMPLETED, BatchState.FAILED}
    policy = batch.roster.policy
    assert batch.total_comparisons <= policy.max_comparisons
    assert all(row.attempt <= policy.max_attempts for row in batch.comparisons)
    assert batch.iteration <= policy.max_iterations
    if batch.state is BatchState.COMPLETED:
        assert batch.scores[-1].verdicts == batch.progress.judged > 0
        assert [row.rank for row in ranking(batch)] == list(range(1, len(batch.usable) + 1))
        assert {f"completed:{FIRST}", f"result:{FIRST}"} == set(story.published)
    else:
        assert batch.control.failure in {"low_success_rate", "stuck_timeout_insufficient_progress"}
        assert set(story.published) == {f"failed:{FIRST}"}


@settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(essays=st.integers(2, 16), policy=policies, weather=weathers)
def test_every_batch_ends_whatever_the_provider_does(essays: int, policy: Policy, weather: Weather) -> None:
    note(f"seed {weather.seed}")
    story, provider = Story(policy), BadProvider(weather)

    def trouble() -> None:
        if provider.random.random() < weather.crashes:
            story.check_rebuilt()
            story.crash()
        if provider.random.random() < 0.1:
            replay(story, provider.random)

    story.tell(requested(essays))
    batch = story.play(provider, after_each=trouble)
    check_end(batch, story)
    story.check_rebuilt()
    event(f"{batch.state} {batch.control.stop_reason or batch.control.failure}")


def replay(story: Story, random: Random) -> None:
    """Deliver a message once more, at its own time, as after a crash: it may be told again, but nothing counts anew."""
    at, events = random.choice(story.log)
    before = story.batch
    story.deliver(*events, at=at)
    after = story.batch
    assert (after.key, after.state, after.progress) == (before.key, before.state, before.progress)
    assert (after.comparisons, after.plans, after.scores) == (before.comparisons, before.plans, before.scores)
