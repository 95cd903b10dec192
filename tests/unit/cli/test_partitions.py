"""``cj-stream partitions``: what stands, and going on behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from support.installation.command_runs import Run, run_command
from unit.cli.fake_views import FakeViews

from cj_stream.cli.operations import partitions
from cj_stream.engine.record_batches import Damage
from cj_stream.engine.stepping import Surviving
from cj_stream.operations.settings import Settings

STANDS = {
    "topic": "requests",
    "partition": 3,
    "offset": 1042,
    "behind": 1050,
    "why": "its checksum is wrong",
    "since": "2026-03-04T09:12:00.000Z",
    "meaning": "Nothing behind it is read.",
    "worker": "http://worker-1:6066",
}


def standing(*rows: dict[str, Any], missing: tuple[str, ...] = ()) -> tuple[int, Any]:
    """Return the views' answer."""
    return 200, {"standing": rows, "complete": not missing, "workers_missing": missing}


def test_a_standing_partition_is_listed_with_where_since_when_why_and_what_it_means(run: Run, views: FakeViews) -> None:
    views.answer("/partitions", standing(STANDS))
    told = run("partitions", "list").stdout
    assert "requests, partition 3, offset 1042: its checksum is wrong" in told
    assert "since 2026-03-04T09:12:00.000Z, told by http://worker-1:6066: Nothing behind it is read." in told
    assert json.loads(run("partitions", "list", "--json").stdout)["standing"] == [STANDS]


def test_that_no_partition_stands_is_said(run: Run, views: FakeViews) -> None:
    views.answer("/partitions", standing())
    outcome = run("partitions", "list")
    assert (outcome.exit_code, outcome.stdout.strip()) == (0, "No partition stands: all input is read.")


def test_an_incomplete_answer_names_who_is_missing_and_claims_nothing_of_the_rest(run: Run, views: FakeViews) -> None:
    views.answer("/partitions", standing(missing=("http://worker-2:6066",)))
    outcome = run("partitions", "list")
    assert outcome.exit_code == 3
    assert "not all workers answered: http://worker-2:6066" in outcome.stderr
    assert "all input is read" not in outcome.stdout


def test_a_batch_of_records_is_stepped_over_by_the_worker_that_has_the_partition(run: Run, views: FakeViews) -> None:
    views.answer("/partitions/requests/3/step-over", (202, {"lost": "offsets 1042 to 1049, 8 at most"}))
    outcome = run("partitions", "step-over", "requests", "3", "1042", "--behind", "1050", "--accept-loss")
    assert "Stepping over offsets 1042 to 1049, 8 at most; see cj-stream dlq list --reason not_read" in outcome.stdout
    assert json.loads(views.bodies[-1]) == {"offset": 1042, "behind": 1050, "accept_loss": True}


def test_what_a_worker_refuses_to_step_over_is_said(run: Run, views: FakeViews) -> None:
    refusal = {"error": {"code": "loses_events", "message": "Events are lost for good.", "advice": "Send it."}}
    views.answer("/partitions/requests/3/step-over", (409, refusal))
    outcome = run("partitions", "step-over", "requests", "3", "1042")
    assert outcome.exit_code == 1
    assert "Events are lost for good." in outcome.stderr


class Changelog:
    """Kafka's part of stepping over in the changelog: one damaged batch, and what is done about it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members = 0
        self.stepped: list[tuple[TopicPartition, int]] = []
        damage = Damage(7, "its checksum is wrong", 9, b"")
        surviving = Surviving(damages=[damage])

        async def members(*_: Any) -> int:
            return self.members

        async def read(*_: Any) -> Surviving:
            return surviving

        async def step(_kafka: object, at: TopicPartition, _surviving: Surviving, found: Damage, *_: object) -> int:
            self.stepped.append((at, found.offset))
            return 11

        monkeypatch.setattr(partitions, "group_members", members)
        monkeypatch.setattr(partitions, "read_past", read)
        monkeypatch.setattr(partitions, "step_over", step)

    def run(self, offset: int, *options: str) -> Any:
        """Run the command about partition 2 of the changelog."""
        topic = Settings().changelog_topic
        return run_command("partitions", "step-over", topic, "2", str(offset), *options)


@pytest.fixture
def changelog(monkeypatch: pytest.MonkeyPatch) -> Changelog:
    return Changelog(monkeypatch)


def test_a_changelog_is_not_stepped_over_while_workers_run(changelog: Changelog) -> None:
    changelog.members = 2
    outcome = changelog.run(7, "--accept-loss")
    assert (outcome.exit_code, changelog.stepped) == (1, [])
    assert "2 worker(s) are in the group" in outcome.stderr


def test_a_changelog_is_not_stepped_over_before_the_loss_is_accepted_and_the_loss_is_listed(
    changelog: Changelog,
) -> None:
    outcome = changelog.run(7)
    assert (outcome.exit_code, changelog.stepped) == (1, [])
    assert "rows of the table are lost for good: offsets 7 to 8 of partition 2" in " ".join(outcome.stderr.split())


def test_an_offset_at_which_nothing_is_damaged_is_refused_and_those_that_are_named(changelog: Changelog) -> None:
    outcome = changelog.run(6, "--accept-loss")
    assert (outcome.exit_code, changelog.stepped) == (1, [])
    assert "has no damaged batch at 6; those there are: 7" in " ".join(outcome.stderr.split())


def test_a_changelog_is_stepped_over_with_all_workers_stopped_and_the_loss_accepted(changelog: Changelog) -> None:
    outcome = changelog.run(7, "--accept-loss", "--json")
    assert [(at.partition, offset) for at, offset in changelog.stepped] == [(2, 7)]
    answer = json.loads(outcome.stdout)
    assert (answer["rows_written"], answer["partition"]) == (11, 2)
