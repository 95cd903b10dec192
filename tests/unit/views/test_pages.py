from __future__ import annotations

import re

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, Story, requested
from unit.views.served_views import Serve, Served

from cj_stream.engine.conditions import ConditionKind
from cj_stream.engine.fence import now as fence_now
from cj_stream.engine.partitioning import home_partition

HOME = home_partition(BATCH, 8)


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(6)
    return story


@pytest.fixture
async def worker(serve: Serve, story: Story) -> Served:
    served = await serve()
    served.open(HOME, story)
    return served


async def test_a_batch_is_shown_with_where_it_lives(worker: Served) -> None:
    status, found = await worker.ask(f"/batches/{BATCH}")
    assert (status, found["batch_id"], found["runs"]) == (200, BATCH, 1)
    assert (found["partition"], found["worker"]) == (HOME, worker.url)


async def test_every_view_of_a_batch_answers(worker: Served, story: Story) -> None:
    story.play(judges)
    for page, key in (("", "policy"), ("/comparisons", "comparisons"), ("/result", "ranking"), ("/explain", "hints")):
        status, found = await worker.ask(f"/batches/{BATCH}{page}")
        assert (status, found["batch_id"]) == (200, BATCH), page
        assert key in found


async def test_an_unknown_batch_is_404_with_what_to_check(worker: Served) -> None:
    unknown = next(f"nobody-{i}" for i in range(100) if home_partition(f"nobody-{i}", 8) == HOME)
    status, found = await worker.ask(f"/batches/{unknown}")
    assert (status, found["error"]["code"]) == (404, "no_such_batch")
    assert unknown in found["error"]["message"]


async def test_an_earlier_run_stays_readable_under_its_number(worker: Served, story: Story) -> None:
    story.play(judges)
    story.tell(requested(6, content="other"))
    assert story.batch.run == 2

    newest, first = await worker.ask(f"/batches/{BATCH}"), await worker.ask(f"/batches/{BATCH}?run=1")
    status, missing = await worker.ask(f"/batches/{BATCH}?run=3")

    assert (newest[1]["run"], newest[1]["runs"], newest[1]["state"]) == (2, 2, "INITIALIZING")
    assert (first[1]["run"], first[1]["runs"], first[1]["state"]) == (1, 2, "COMPLETED")
    assert (status, missing["error"]["code"]) == (404, "no_such_run")


async def test_comparisons_show_the_correlation_id_the_provider_was_given(worker: Served) -> None:
    _, found = await worker.ask(f"/batches/{BATCH}/comparisons?offset=3&limit=1&status=PLANNED")
    (row,) = found["comparisons"]
    made = worker.worker.correlation_ids.make(
        partition=HOME, batch_id=BATCH, run=1, index=3, attempt=1, pair=(row["essay_a_id"], row["essay_b_id"])
    )
    assert row["request_correlation_id"] == str(made)


async def test_there_is_no_result_before_the_first_fit(worker: Served) -> None:
    status, found = await worker.ask(f"/batches/{BATCH}/result")
    assert (status, found["error"]["code"]) == (409, "no_scores")
    assert "ask again later" in found["error"]["message"]


async def test_the_explanation_says_whom_the_work_waits_for(worker: Served) -> None:
    worker.worker.dispatcher.postponed[BATCH, 1] = "the LLM provider takes nothing now"
    _, found = await worker.ask(f"/batches/{BATCH}/explain")
    assert found["postponed"] == "the LLM provider takes nothing now"


@pytest.mark.parametrize(
    "path", ["/batches?state=DONE", "/batches?limit=0", "/batches?scope=mine", f"/batches/{BATCH}?run=x"]
)
async def test_a_bad_parameter_is_400_and_named(worker: Served, path: str) -> None:
    status, found = await worker.ask(path)
    assert (status, found["error"]["code"]) == (400, "bad_parameter")
    assert re.match(r"(state|limit|scope|run) must be ", found["error"]["message"])


@pytest.mark.parametrize("path", ["/stats", "/table/", "/table/batches", "/router/", "/graph", "/performance/", "/x"])
async def test_there_are_no_pages_of_faust(worker: Served, path: str) -> None:
    status, found = await worker.ask(path)
    assert (status, found["error"]["code"]) == (404, "not_found")


async def test_a_page_that_cannot_be_posted_to_says_so(worker: Served) -> None:
    status, found = await worker.ask("/batches", "POST")
    assert (status, found["error"]["code"]) == (405, "method_not_allowed")


async def test_a_bug_in_a_view_is_an_error_answer_without_its_inside(worker: Served) -> None:
    del worker.worker.engine.opener._opened_at
    status, found = await worker.ask(f"/batches/{BATCH}")
    assert (status, found["error"]["code"]) == (500, "internal_error")
    assert "_opened_at" not in str(found)


async def test_the_metrics_count_the_batches_by_state(worker: Served) -> None:
    headers, text = await worker.page("/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert 'cj_batch_state{state="WAITING_CALLBACKS"} 1.0' in text


async def test_a_worker_that_answers_is_live(serve: Serve) -> None:
    worker = await serve()
    worker.worker.engine.faust.conf.consumer_group_instance_id = "worker-1"
    assert await worker.ask("/healthz/live") == (200, {"status": "live", "worker_id": "worker-1"})


async def test_a_worker_is_ready_once_all_its_partitions_are_open(serve: Serve) -> None:
    worker = await serve()
    status, found = await worker.ask("/healthz/ready")
    assert (status, found["why"]) == (503, "no partition is assigned to this worker and recovered")

    worker.assign(2, 5)
    worker.open(2, Story())
    status, found = await worker.ask("/healthz/ready")
    assert (status, found["status"]) == (503, "not ready")
    assert "[5]" in found["why"]

    worker.open(5, Story())
    assert await worker.ask("/healthz/ready") == (200, {"status": "ready", "partitions": [2, 5], "degraded": []})


async def test_what_is_degraded_is_listed_by_a_ready_worker_and_counted(worker: Served) -> None:
    worker.worker.engine.conditions.begin(ConditionKind.TOPIC_REFUSES, "results", "It refuses.", "Results wait.")
    status, found = await worker.ask("/healthz/ready")
    (condition,) = found["degraded"]
    assert (status, condition["kind"], condition["subject"]) == (200, "topic_refuses", "results")
    assert (condition["what"], condition["meaning"]) == ("It refuses.", "Results wait.")
    _, text = await worker.page("/metrics")
    assert 'cj_conditions{kind="topic_refuses"} 1.0' in text
    assert 'cj_conditions{kind="clock"} 0.0' in text


async def test_a_worker_is_not_ready_while_partitions_are_distributed(worker: Served) -> None:
    worker.worker.engine.faust.rebalancing = True
    status, found = await worker.ask("/healthz/ready")
    assert status == 503
    assert "distributed" in found["why"]


async def test_a_worker_that_stops_is_not_ready(worker: Served) -> None:
    worker.worker.engine.faust.draining = True
    status, found = await worker.ask("/healthz/ready")
    assert (status, found["why"]) == (503, "the worker finishes what is under way, to stop")


async def test_a_worker_out_of_touch_with_its_group_is_not_ready(worker: Served) -> None:
    fence = worker.worker.engine.fence
    fence.contact(fence_now() - fence.limit - 1)
    status, found = await worker.ask("/healthz/ready")
    assert status == 503
    assert "the group has not answered for" in found["why"]


async def test_a_worker_with_a_stuck_partition_is_neither_live_nor_ready_and_says_which(
    worker: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.worker.engine.watchdog, "why_stuck", lambda: "partition 3 of events has not moved")
    for page in ("/healthz/live", "/healthz/ready"):
        status, found = await worker.ask(page)
        assert (status, found["why"]) == (503, "partition 3 of events has not moved")


async def test_the_dashboard_is_one_page_that_needs_nothing_from_elsewhere(worker: Served) -> None:
    headers, html = await worker.page("/")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(r"https?://|<link|<img|src=", html)


async def test_the_dashboard_puts_in_nothing_as_markup(worker: Served) -> None:
    headers, html = await worker.page("/")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\son\w+=", html)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}';", policy)
    assert "unsafe-inline" not in policy
