"""Known mistakes, put into the code one at a time, to show that the simulation finds them.

Each is a way to lose or repeat something that the design rules out; ``caught_by`` names the invariants that find it.
The mistakes themselves are in `mistakes`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from simulation import checks, decisions, end_checks, mistakes, repeats
from simulation.disk import Disk

from cj_stream.domain import decider
from cj_stream.domain.identifiers import Seal
from cj_stream.effects.carry_out import Effects
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.fence import Fence
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.log import Log
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.consumer import BarrierConsumer
from cj_stream.engine.overrides.recovery import SeekFirstRecovery
from cj_stream.engine.overrides.table import Table
from cj_stream.engine.reading import Reading
from cj_stream.engine.releases import Releases
from cj_stream.engine.sender import Sender
from cj_stream.tables.batch_rows import BatchRows

ENDS = "everything ends"
NO_EXCEPTION = "no unexpected exception"


@dataclass(frozen=True)
class Mutation:
    """A mistake. ``apply`` puts it in place, for as long as the context lasts."""

    name: str
    apply: Callable[[], AbstractContextManager[Any]]
    caught_by: tuple[str, ...]


def _replaced(owner: Any, name: str, by: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, by)


MUTATIONS = (
    Mutation("a worker out of touch goes on", _replaced(Fence, "check", lambda _: None), (checks.MEMBERS_ONLY,)),
    Mutation("a second verdict replaces the first", mistakes.handled(mistakes.judge_again), (decisions.BATCH_RULES,)),
    Mutation(
        "a verdict is counted for two comparisons",
        mistakes.handled(mistakes.judge_and_count_twice),
        (checks.NO_REGRESS, end_checks.TRUE_VERDICTS, decisions.BATCH_RULES),
    ),
    Mutation(
        "a repeat decides nothing", _replaced(decider, "advance", mistakes.only_if_changed), (decisions.BATCH_RULES,)
    ),
    Mutation(
        "a commit does not wait for what is outstanding",
        _replaced(BarrierConsumer, "_commit_offsets", mistakes.commit_without_waiting),
        (checks.ROWS_FIRST, checks.FORWARDED_FIRST),
    ),
    Mutation(
        "a commit waits for a second only",
        _replaced(Sender, "settled", mistakes.settled_or_late),
        (checks.ROWS_FIRST, checks.FORWARDED_FIRST),
    ),
    Mutation(
        "commits the position with a run in hand",
        _replaced(Reading, "_in_hand", mistakes.nothing_in_hand_of),
        (checks.FORWARDED_FIRST, checks.ROWS_FIRST, ENDS, end_checks.LOG_DECIDES),
    ),
    Mutation(
        "acknowledges a run at its first record",
        _replaced(Reading, "_in_hand", mistakes.begun_is_handled),
        (checks.FORWARDED_FIRST, checks.ROWS_FIRST, ENDS, end_checks.LOG_DECIDES),
    ),
    Mutation("flush without promise", _replaced(Sender, "flush", mistakes.flush_without_promise), (checks.ROWS_FIRST,)),
    Mutation(
        "a run stops at its poisoned record",
        lambda: patch("cj_stream.agents.callbacks.in_portions", mistakes.up_to_the_poisoned),
        (checks.FORWARDED_FIRST, ENDS),
    ),
    Mutation(
        "effects start before the commit",
        _replaced(Releases, "hold", mistakes.release_at_once),
        (checks.COMMITTED_FIRST,),
    ),
    Mutation(
        "effects start before the marker is read",
        _replaced(Opener, "assigned", mistakes.start_when_assigned),
        (checks.ONE_ACCEPTANCE,),
    ),
    Mutation(
        "opening a partition restores no batch",
        _replaced(decisions.CheckedBatches, "restore", mistakes.restore_nothing),
        (ENDS, end_checks.ONE_OUTCOME),
    ),
    Mutation("opening a partition starts nothing", _replaced(Opener, "read", mistakes.opened_for_nothing), (ENDS,)),
    Mutation(
        "the control row is written first",
        _replaced(BatchRows, "puts", mistakes.control_row_first),
        # A batch whose control row is there, and a detail not, is one that no code expects.
        (decisions.BATCH_RULES, end_checks.LOG_DECIDES, ENDS, NO_EXCEPTION),
    ),
    Mutation(
        "recovery keeps the lower position",
        lambda: patch("cj_stream.engine.overrides.table.row_position", mistakes.lowest_position),
        (end_checks.LIVE_IS_REPLAY, end_checks.LOG_DECIDES, checks.NO_REGRESS, ENDS, end_checks.ONE_OUTCOME),
    ),
    Mutation(
        "recovery takes the last record, whatever its position",
        lambda: patch("cj_stream.engine.overrides.table.row_position", mistakes.last_wins),
        # What is rolled back is published once more, and says something else.
        (
            end_checks.LIVE_IS_REPLAY,
            end_checks.STANDBY_IS_REPLAY,
            checks.NO_REGRESS,
            end_checks.LOG_DECIDES,
            checks.SAME_EVENT,
        ),
    ),
    Mutation(
        "what is held is not dropped at revocation",
        _replaced(Releases, "drop", lambda *_: None),
        (checks.ONE_ACCEPTANCE, checks.COMMITTED_FIRST, checks.ONE_SUBMISSION),
    ),
    Mutation(
        "a gathered event is in no promise",
        _replaced(Forwarder, "_start", mistakes.start_without_promise),
        (checks.FORWARDED_FIRST,),
    ),
    Mutation(
        "a request that was forwarded twice is asked for twice",
        lambda: patch("cj_stream.domain.admission._is_copy", lambda *_: False),
        (end_checks.ONE_OUTCOME, end_checks.LOG_DECIDES),
    ),
    Mutation(
        "downtime counts as idle time",
        lambda: patch("cj_stream.domain.deadlines._idle_until", mistakes.idle_until_whoever_serves),
        (decisions.NEVER_UNJUST,),
    ),
    Mutation(
        "who asks again for what has ended is not told",
        lambda: patch("cj_stream.domain.admission._publish_again", lambda *_: None),
        (repeats.TOLD_AGAIN,),
    ),
    Mutation(
        "two requests have one origin",
        lambda: patch("cj_stream.agents.requests.Origin", mistakes.first_of_its_partition),
        (checks.OWN_ORIGIN,),
    ),
    Mutation(
        "age ends no batch",
        lambda: patch("cj_stream.domain.deadlines._old_at", mistakes.never_old),
        (decisions.OLD_AGE,),
    ),
    Mutation(
        "an outcome counts as published before it is acknowledged",
        _replaced(Effects, "_publish", mistakes.publish_without_waiting),
        (end_checks.ONE_OUTCOME,),
    ),
    Mutation(
        "a refused outcome is published again and again",
        _replaced(Effects, "_publish", mistakes.publish_for_ever),
        (ENDS,),
    ),
    Mutation(
        "what a topic does not take now is given up",
        _replaced(Effects, "_publish", mistakes.give_up_at_once),
        (end_checks.GIVEN_UP,),
    ),
    Mutation("effects stay in hand for ever", _replaced(Dispatcher, "committed", mistakes.kept_in_hand), (ENDS,)),
    Mutation(
        "a commit forgets what is in hand",
        _replaced(Dispatcher, "committed", mistakes.nothing_in_hand),
        (checks.ONE_SUBMISSION,),
    ),
    Mutation(
        "a forged correlation id is accepted",
        _replaced(Seal, "verifies", mistakes.any_attempt),
        (end_checks.TRUE_VERDICTS,),
    ),
    Mutation(
        "timeouts do not wait for unread callbacks",
        lambda: patch("cj_stream.engine.all_read.caught_up", mistakes.always_read),
        (checks.READ_FIRST,),
    ),
    Mutation(
        "the local store is trusted after a kill",
        _replaced(Disk, "open", mistakes.trusting_open),
        (end_checks.LIVE_IS_REPLAY, checks.COMMITTED_FIRST, end_checks.LOG_DECIDES),
    ),
    Mutation(
        "the offset of a copy moves before its rows are there",
        _replaced(SeekFirstRecovery, "take", mistakes.with_the_offset_first),
        (end_checks.STANDBY_IS_REPLAY,),
    ),
    Mutation(
        "a copy is not verified",
        _replaced(Table, "is_complete", lambda *_: True),
        (end_checks.LIVE_IS_REPLAY, end_checks.LOG_DECIDES),
    ),
    Mutation(
        "a rebuilt copy is taken as it is",
        mistakes.rebuilt_as_it_is,
        (end_checks.LIVE_IS_REPLAY, end_checks.LOG_DECIDES, checks.NO_REGRESS),
    ),
    Mutation(
        "the end of a changelog is not fetched again",
        _replaced(SeekFirstRecovery, "_end", mistakes.end_without_a_second_fetch),
        (end_checks.LIVE_IS_REPLAY, end_checks.LOG_DECIDES),
    ),
    Mutation(
        "only the first event of a message is read",
        _replaced(Log, "_encoded", mistakes.first_event),
        (ENDS, checks.ONE_SUBMISSION, end_checks.LOG_DECIDES),
    ),
    Mutation(
        "retries are started beyond the limit of a batch",
        _replaced(Dispatcher, "_waiting", mistakes.all_submissions),
        (checks.POOL,),
    ),
    Mutation(
        "the retention of finished batches is not watched after a restart",
        _replaced(BatchRows, "heads", lambda *_: iter(())),
        (decisions.RETENTION, end_checks.ONE_OUTCOME, ENDS),
    ),
    Mutation(
        "an outcome's event id forgets the run",
        lambda: patch("cj_stream.effects.outcomes.outcome_event_id", mistakes.id_without_run),
        (checks.SAME_EVENT,),
    ),
)
