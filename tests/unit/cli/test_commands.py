from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from support.installation.command_runs import Run
from unit.cli.fake_views import FakeViews, degraded, detail, explanation, judge, listed, result, serve_views

from cj_stream.cli.batches import live_progress
from cj_stream.cli.shared import first_answer, views_client
from cj_stream.cli.shared.rendering import CSV_COLUMNS

FAILED = detail("b1", state="FAILED", failure="low_success_rate")


def test_list_shows_a_line_per_batch(run: Run, views: FakeViews) -> None:
    views.answer("/batches?limit=100", (200, listed(FAILED)))
    outcome = run("list")
    output = outcome.output
    assert outcome.exit_code == 0
    assert "b1" in output
    assert "7/40" in output
    assert "low_success_rate" in output


def test_list_asks_for_one_state_and_a_number_of_batches(run: Run, views: FakeViews) -> None:
    views.answer("/batches?limit=5&state=COMPLETED", (200, listed()))
    assert "No batches in state COMPLETED" in run("list", "--state", "completed", "--limit", "5").output


@pytest.mark.parametrize(
    ("lack", "told"),
    [
        ({"workers_missing": ["http://worker-2:6066"]}, "no full answer from http://worker-2:6066"),
        ({"partitions_missing": [3, 5]}, "nobody serves partitions 3, 5 now"),
    ],
)
def test_an_incomplete_list_says_so_beside_what_there_is_and_by_its_exit_code(
    run: Run, views: FakeViews, lack: dict[str, object], told: str
) -> None:
    for batches in ([], [FAILED]):
        views.answer("/batches?limit=100", (200, listed(*batches, complete=False, **lack)))
        outcome, as_json = run("list"), run("list", "--json")
        assert f"Incomplete: {told}" in outcome.stdout
        assert "No batches" not in outcome.stdout
        assert (outcome.exit_code, as_json.exit_code) == (3, 3)
        assert json.loads(as_json.stdout)["complete"] is False


def test_a_page_of_the_list_says_of_how_many_it_is_and_how_to_go_on(run: Run, views: FakeViews) -> None:
    views.answer("/batches?limit=1", (200, listed(FAILED, total=3, next="here")))
    views.answer("/batches?limit=1&after=here", (200, listed(FAILED, total=3)))
    assert "1 of 3 batches. The next: cj-stream list --after here" in run("list", "--limit", "1").stdout
    assert "1 of 3 batches: the last of them." in run("list", "--limit", "1", "--after", "here").stdout


def test_the_whole_list_is_fetched_page_by_page(run: Run, views: FakeViews) -> None:
    views.answer("/batches?limit=1000", (200, listed(FAILED, total=2, next="here")))
    views.answer("/batches?limit=1000&after=here", (200, listed(detail("b2"), total=2)))
    answer = json.loads(run("list", "--all", "--json").stdout)
    assert [batch["batch_id"] for batch in answer["batches"]] == ["b1", "b2"]


@pytest.mark.parametrize("command", [("list",), ("explain", "b1"), ("watch", "b1")])
def test_what_is_degraded_is_told_whoever_asks_for_what(
    run: Run, views: FakeViews, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(live_progress, "POLL_SECONDS", 0.01)
    views.answer("/batches?limit=100", (200, listed(FAILED, degraded=[degraded()])))
    views.answer("/batches/b1/explain", (200, explanation(degraded=[degraded()])))
    views.answer("/batches/b1", (200, detail(degraded=[degraded()])), (200, detail(state="COMPLETED")))
    output = run(*command).output
    assert "Degraded since 2026-03-04T09:12:00.000Z: Kafka does not answer. Nothing is read." in output


def test_a_frozen_worker_is_not_waited_for_when_another_one_answers(
    run: Run, views: FakeViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_answer, "NEXT_SECONDS", 0.05)
    with serve_views() as other:
        views.frozen = True
        other.answer("/batches/b1/explain", (200, explanation()))
        other.answer("/batches/b1/retry", (202, {"accepted": "retry", "batch_id": "b1"}))
        monkeypatch.setenv("CJ_WEB_URL", f"{views.url},{other.url}")
        assert run("explain", "b1").exit_code == 0
        assert run("retry", "b1").exit_code == 0
        assert ("POST", "/batches/b1/retry") in other.asked
    assert "POST" not in dict(views.asked), "a command goes to one worker only"


def test_that_everybody_is_silent_is_said_while_it_is_waited_for(
    run: Run, views: FakeViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_answer, "NEXT_SECONDS", 0.02)
    monkeypatch.setattr(first_answer, "SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(views_client, "TIMEOUT_SECONDS", 0.3)
    views.frozen = True
    outcome = run("explain", "b1")
    assert outcome.exit_code == 1
    assert f"No answer yet from {views.url}: waiting for up to 0.3 s." in outcome.stderr
    assert "Error: no worker answers" in outcome.stderr


def test_a_command_without_the_token_is_advised_in_words_of_the_command_line(run: Run, views: FakeViews) -> None:
    error = {"code": "wrong_token", "message": "The operator token is missing.", "advice": "Send the header ..."}
    views.answer("/batches/b1/retry", (401, {"error": error}))
    output = run("retry", "b1").output
    assert "The operator token is missing. Set CJ_OPERATOR_TOKEN" in output
    assert "header" not in output


def test_results_shows_the_ranking_with_its_uncertainty(run: Run, views: FakeViews) -> None:
    views.answer("/batches/b1/result", (200, result()))
    outcome = run("results", "b1")
    assert outcome.exit_code == 0
    assert "b1: final ranking, 4 verdicts, 1 iterations, reliability 0.91 (EAP), stopped: reliability_reached" in (
        outcome.output
    )
    for part in ("good", "+1.25", "0.50", "+0.25 .. +2.25"):
        assert part in outcome.output


def test_results_say_who_judged_and_what_is_made_up_in_every_form(run: Run, views: FakeViews) -> None:
    judges = [judge(4, "simulated", "simulated (mock simulated)")]
    made_up = result(judged_by=judges, cautions=["All 4 verdicts were simulated."])
    views.answer("/batches/b1/result", (200, made_up))
    table = run("results", "b1").output
    assert "Judged by simulated (mock simulated)." in table
    assert "Beware: All 4 verdicts were simulated." in table
    lines = run("results", "b1", "--format", "csv").stdout.splitlines()
    assert lines[0].endswith(",judged_by")
    assert all(line.endswith(",simulated (mock simulated)") for line in lines[1:])
    assert json.loads(run("results", "b1", "--json").stdout)["judged_by"] == judges


def test_results_says_which_essays_could_not_be_ranked_and_what_is_not_connected(run: Run, views: FakeViews) -> None:
    failed = [{"essay_id": "lost", "reason": "no text under storage id 'x'"}]
    views.answer("/batches/b1/result", (200, result(failed_essays=failed, components=2)))
    output = run("results", "b1").output
    assert "lost" in output
    assert "2 groups of essays that were never compared" in output


def test_a_single_essay_has_a_rank_and_no_interval(run: Run, views: FakeViews) -> None:
    row = result()["ranking"][0] | {"standard_error": None, "ci95": None}
    views.answer("/batches/b1/result", (200, result(ranking=[row])))
    assert "good" in run("results", "b1").output
    assert run("results", "b1", "--format", "csv").stdout.splitlines()[1] == "1,good,1.25,,,,4,4.0,openai gpt-5"


def test_results_as_csv_can_be_read_by_any_csv_reader(run: Run, views: FakeViews, tmp_path: Path) -> None:
    odd = [row | {"essay_id": 'a "b", c\nd'} for row in result()["ranking"][:1]]
    views.answer("/batches/b1/result", (200, result(ranking=odd)))
    file = tmp_path / "ranking.csv"
    assert run("results", "b1", "--format", "csv", "--output", str(file)).output == ""
    with file.open(newline="", encoding="utf-8") as lines:
        (row,) = csv.DictReader(lines)
    assert tuple(row) == CSV_COLUMNS
    assert row["essay_id"] == 'a "b", c\nd'
    assert (row["ci95_low"], row["ci95_high"]) == ("0.25", "2.25")


def test_results_as_json_is_what_the_view_says(run: Run, views: FakeViews) -> None:
    views.answer("/batches/b1/result", (200, result()))
    assert json.loads(run("results", "b1", "--format", "json").stdout) == result()
    assert json.loads(run("results", "b1", "--json").stdout) == result()


def test_a_table_is_not_written_to_a_file(run: Run) -> None:
    outcome = run("results", "b1", "--output", "x.txt")
    assert outcome.exit_code == 2
    assert "--format csv" in outcome.output


def test_explain_tells_state_next_event_and_hints(run: Run, views: FakeViews) -> None:
    error = {"index": 3, "attempt": 2, "error_code": "TIMEOUT", "error_message": "[red]late", "at": "..."}
    views.answer(
        "/batches/b1/explain", (200, explanation(postponed="the LLM provider takes nothing now", last_errors=[error]))
    )
    output = run("explain", "b1").output
    for part in (
        "3 callbacks are awaited",
        "takes nothing now",
        "A comparison fails",
        "submit comparison 8",
        "`cancel`",
    ):
        assert part in output
    assert "[red]late" in output


def test_an_unknown_batch_ends_with_one_sentence_and_exit_code_1(run: Run) -> None:
    outcome = run("explain", "nope")
    assert outcome.exit_code == 1
    assert outcome.output.startswith("Error: nothing at /batches/nope")


@pytest.mark.parametrize("action", ["cancel", "finalize"])
def test_what_cannot_be_undone_is_asked_first(run: Run, views: FakeViews, action: str) -> None:
    views.answer(f"/batches/b1/{action}", (202, {"accepted": action, "batch_id": "b1"}))
    refused = run(action, "b1", input="n\n")
    assert refused.exit_code == 1
    assert views.asked == []
    assert run(action, "b1", input="y\n").exit_code == 0
    assert run(action, "b1", "--yes", "--json").exit_code == 0
    assert views.asked == [("POST", f"/batches/b1/{action}")] * 2


def test_a_retry_needs_no_question_and_carries_reason_and_token(
    run: Run, views: FakeViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CJ_OPERATOR_TOKEN", "secret")
    views.answer("/batches/b1/retry", (202, {"accepted": "retry", "batch_id": "b1"}))
    assert "cj-stream watch b1" in run("retry", "b1", "--reason", "provider is back").output
    assert views.headers[0]["Authorization"] == "Bearer secret"
    assert json.loads(views.bodies[0]) == {"reason": "provider is back"}


def test_an_objection_of_the_worker_is_shown_and_the_command_fails(run: Run, views: FakeViews) -> None:
    views.answer("/batches/b1/cancel", (409, {"error": {"code": "conflict", "message": "b1 has already ended"}}))
    outcome = run("cancel", "b1", "--yes")
    assert outcome.exit_code == 1
    assert "b1 has already ended" in outcome.output


@pytest.mark.parametrize(("state", "code"), [("COMPLETED", 0), ("FAILED", 1), ("CANCELLED", 1)])
def test_watch_succeeds_only_when_every_batch_was_completed(
    run: Run, views: FakeViews, monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    monkeypatch.setattr(live_progress, "POLL_SECONDS", 0.01)
    views.answer("/batches/b1", (200, detail("b1", state="COMPLETED")))
    views.answer("/batches/b2", (200, detail("b2", state=state)))
    outcome = run("watch", "b1", "b2", "--json")
    assert outcome.exit_code == code
    assert [batch["state"] for batch in json.loads(outcome.stdout)] == ["COMPLETED", state]


@pytest.mark.parametrize(
    "command", ["demo", "dev", "submit", "watch", "results", "list", "explain", "cancel", "retry", "finalize"]
)
def test_the_help_of_every_command_ends_with_an_example(run: Run, command: str) -> None:
    outcome = run(command, "--help")
    assert outcome.exit_code == 0
    assert f"cj-stream {command}" in outcome.output[outcome.output.index("Example") :]
