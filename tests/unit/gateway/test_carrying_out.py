"""What is done for jobs, with judges that answer, pause, fail and hang."""

from __future__ import annotations

import asyncio
import json

from gateway_runs.rig import PARTITION, Rig, ScriptedJudge
from structlog.testing import capture_logs
from support.engine.until import until

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.gateway.deciding import JOB
from cj_stream.gateway.jobs import BatchCancelled, Began, Ended, JobCancelled, ScopePaused, TimeIsOver
from cj_stream.gateway.judges import Failure, PausedError, UnavailableError
from cj_stream.provider.breaker import BreakerState


async def test_a_comparison_is_judged_and_its_answer_says_what_it_cost() -> None:
    rig = Rig(ScriptedJudge())
    job_id = await rig.ask("one")
    await rig.answered(job_id)
    (value,) = rig.published
    data = json.loads(value)["data"]
    assert (data["winner"], data["provider"], data["model"], data["cost_estimate"]) == (
        "Essay A",
        "test",
        "scripted",
        0.5,
    )
    told = data["request_metadata"]
    assert (told["essay_a_id"], told["gateway_calls"], told["raw_llm_response"], told["cost_known"]) == (
        "one",
        1,
        "raw",
        True,
    )
    assert read_callback(value).winner == "A"


async def test_a_call_is_in_the_log_before_it_is_made() -> None:
    judge = ScriptedJudge()
    judge.holding.clear()
    rig = Rig(judge)
    job_id = await rig.ask("one")
    await until(lambda: judge.calls)
    assert rig.job(job_id).under_way
    assert Began(id=job_id, number=1) in rig.log


async def test_no_more_calls_are_under_way_than_allowed_until_their_answers_are_in_the_log() -> None:
    judge = ScriptedJudge()
    judge.holding.clear()
    rig = Rig(judge, at_once=3)
    jobs = [await rig.ask(f"{i}") for i in range(8)]
    await until(lambda: len(judge.calls) == 3)
    await asyncio.sleep(0)
    assert len(judge.calls) == 3
    judge.holding.set()
    await rig.answered(*jobs)
    assert sorted(judge.calls) == [f"{i}" for i in range(8)]


async def test_a_judge_without_a_verdict_is_an_error_callback_with_its_code() -> None:
    rig = Rig(ScriptedJudge(Failure("PARSING_ERROR", "neither essay was named", "test", "scripted", cost=0.25)))
    await rig.answered(await rig.ask("one"))
    data = json.loads(rig.published[0])["data"]
    assert (data["winner"], data["error_detail"]["error_code"], data["cost_estimate"]) == (None, "PARSING_ERROR", 0.25)


async def test_a_judge_that_breaks_is_an_error_callback_that_tells_nobody_what_it_said() -> None:
    rig = Rig(ScriptedJudge(ValueError("the essay says: dear diary")))
    with capture_logs() as logs:
        await rig.answered(await rig.ask("one"))
    callback = read_callback(rig.published[0])
    assert (callback.error_code, callback.error_message) == ("PROCESSING_ERROR", "the judge failed: ValueError")
    assert "diary" not in json.dumps(logs, default=str)


async def test_a_wait_that_the_endpoint_asks_for_pauses_all_and_pays_nothing() -> None:
    judge = ScriptedJudge(PausedError(3600.0, "too many requests"))
    rig = Rig(judge, at_once=1)
    first, second = await rig.ask("one"), await rig.ask("two")
    await until(lambda: any(isinstance(event, Ended) for event in rig.log))
    assert ScopePaused(scope=judge.scope, until=4600.0, why="too many requests") in rig.log
    assert (judge.calls, rig.job(first).paid) == (["one"], 0)
    rig.now += 3600
    await rig.answered(first, second)
    assert json.loads(rig.published[-1])["data"]["request_metadata"]["gateway_calls"] == 1


async def test_a_failed_call_is_made_again_and_after_the_last_attempt_it_is_an_error() -> None:
    judge = ScriptedJudge(*[UnavailableError("HTTP 500", sent=True)] * 2)
    rig = Rig(judge, attempts=2)
    job_id = await rig.ask("one")
    await until(lambda: rig.job(job_id).not_before > 0)
    assert rig.job(job_id).answer is None
    rig.now += 60
    await rig.answered(job_id)
    callback = read_callback(rig.published[0])
    assert callback.error_code == "EXTERNAL_SERVICE_ERROR"
    assert len(judge.calls) == 2


async def test_a_call_that_was_never_sent_is_not_counted_as_paid() -> None:
    judge = ScriptedJudge(UnavailableError("connection refused", sent=False))
    rig = Rig(judge, attempts=1)
    job_id = await rig.ask("one")
    await until(lambda: rig.job(job_id).ended)
    rig.now += 60
    await rig.answered(job_id)
    assert read_callback(rig.published[0]).winner == "A"
    assert rig.job(job_id).paid == 1


async def test_a_call_that_hangs_counts_as_failed_and_gives_its_place_back() -> None:
    judge = ScriptedJudge()
    judge.holding.clear()
    rig = Rig(judge, at_once=1, attempts=1, call_seconds=0.05)
    await rig.answered(await rig.ask("one"))
    assert read_callback(rig.published[0]).error_code == "EXTERNAL_SERVICE_ERROR"
    assert json.loads(rig.published[0])["data"]["request_metadata"]["cost_known"] is False
    judge.holding.set()
    await rig.answered(await rig.ask("two"))


async def test_the_breaker_opens_after_failures_lets_one_probe_and_closes_and_says_so() -> None:
    judge = ScriptedJudge(*[UnavailableError("HTTP 503", sent=False)] * 3)
    rig = Rig(judge, at_once=1)
    with capture_logs() as logs:
        jobs = [await rig.ask(f"{i}") for i in range(6)]
        line = rig.lines.of(judge.scope)
        await until(lambda: len(judge.calls) == 3)
        await until(lambda: line.breaker is not BreakerState.CLOSED)
        rig.now += 60
        await rig.answered(*jobs)
    assert [entry["event"].split(":")[0] for entry in logs if "breaker" in entry["event"]] == [
        "breaker opened",
        "breaker probes",
        "breaker closed",
    ]


async def test_what_waits_is_not_called_for_once_it_is_cancelled() -> None:
    judge = ScriptedJudge()
    judge.holding.clear()
    rig = Rig(judge, at_once=1)
    first = await rig.ask("one", "kept")
    await until(lambda: judge.calls)
    others = [await rig.ask(f"{i}", "gone") for i in range(5)]
    await rig.tell(BatchCancelled(batch="gone-1", seconds=600))
    await rig.answered(*others)
    judge.holding.set()
    await rig.answered(first)
    assert judge.calls == ["one"]
    assert {read_callback(value).error_code for value in rig.published} == {"CANCELLED", None}
    assert all(json.loads(value)["data"]["request_metadata"]["cost_known"] for value in rig.published)


async def test_a_cancelled_call_of_a_gateway_that_was_killed_is_not_made_again() -> None:
    judge = ScriptedJudge()
    rig = Rig(judge)
    rig.dispatcher._closed = True  # whoever had it has begun and was killed
    job_id = await rig.ask("one")
    await rig.tell(Began(id=job_id, number=1))
    await rig.tell(JobCancelled(id=job_id))
    assert rig.job(job_id).answer is None
    rig.dispatcher._closed = False
    rig.dispatcher.committed(PARTITION, 99, rig.home.subjects())
    await rig.answered(job_id)
    assert not judge.calls


async def test_a_partition_is_given_up_without_waiting_for_turns() -> None:
    judge = ScriptedJudge()
    judge.holding.clear()
    rig = Rig(judge, at_once=1)
    for i in range(5):
        await rig.ask(f"{i}")
    await until(lambda: judge.calls)
    line = rig.lines.of(judge.scope)
    dropping = asyncio.create_task(rig.dispatcher.drop([PARTITION], 5.0))
    await until(lambda: rig.dispatcher.in_hand == 1 or line.waiting == 0)
    assert not dropping.done()
    judge.holding.set()
    assert await asyncio.wait_for(dropping, 1) == 0
    assert (len(judge.calls), line.waiting, line.calling) == (1, 0, 0)


async def test_a_call_goes_on_when_its_partition_is_given_up_and_its_answer_is_told_all_the_same() -> None:
    judge = ScriptedJudge()
    judge.holding.clear()
    rig = Rig(judge, at_once=1)
    job_id = await rig.ask("one")
    await until(lambda: judge.calls)
    assert await rig.dispatcher.drop([PARTITION], 0.0) == 1
    # Somebody else serves it now, and here nothing is started.
    assert rig.job(job_id).answer is None
    judge.holding.set()
    await until(lambda: rig.job(job_id).answer)
    await until(lambda: rig.lines.of(judge.scope).calling == 0)


async def test_a_call_that_goes_on_is_not_made_again_when_its_partition_comes_back() -> None:
    judge = ScriptedJudge()
    judge.holding.clear()
    rig = Rig(judge, at_once=1)
    job_id = await rig.ask("one")
    await until(lambda: judge.calls)
    await rig.dispatcher.drop([PARTITION], 0.0)
    rig.dispatcher.committed(PARTITION, 99, rig.home.subjects())
    await asyncio.sleep(0)
    judge.holding.set()
    await rig.answered(job_id)
    assert judge.calls == ["one"]


async def test_an_error_is_published_in_time_although_the_call_still_hangs() -> None:
    judge = ScriptedJudge()
    judge.holding.clear()
    rig = Rig(judge)
    job_id = await rig.ask("one")
    await until(lambda: judge.calls)
    rig.now += 600
    await rig.tell(TimeIsOver(kind=JOB, name=job_id, at=rig.now))
    await rig.answered(job_id)
    assert read_callback(rig.published[0]).error_code == "TIMEOUT"
    judge.holding.set()
    await until(lambda: rig.lines.of(judge.scope).calling == 0)
    assert len(rig.published) == 1
