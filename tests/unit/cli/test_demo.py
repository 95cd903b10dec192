from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord
from support.installation.command_runs import run_command
from unit.cli.fake_views import detail, result

import cj_stream
from cj_stream.cli.batches.ended import Ended
from cj_stream.cli.batches.new_request import EssayText
from cj_stream.cli.local.demo_batches import DemoBatch, Scale, demo_batches, find_examples
from cj_stream.cli.local.demo_outcomes import read_outcomes
from cj_stream.engine import clients
from cj_stream.gateway.specs import read_judges
from cj_stream.operations.settings import Settings

SCALE = Scale("the known scale", {"good": 1.0, "bad": -1.0})


def batch(expected_state: str = "COMPLETED", scale: Scale | None = SCALE) -> DemoBatch:
    return DemoBatch("b1", "", "simulated", [EssayText("good", "x")], expected_state, frozenset(), scale=scale)


def ended(state: str = "COMPLETED", failure: str | None = None) -> Ended:
    return Ended(detail(state=state, failure=failure), result() if state == "COMPLETED" else None, {})


def test_the_examples_are_found_from_anywhere_and_make_three_batches_with_judges_the_gateway_knows() -> None:
    batches = demo_batches(find_examples())
    judges = read_judges([f"{batch.name}={batch.judge}" for batch in batches], seed=0)
    assert sorted(judges.named) == ["essays", "trouble", "vehicles"]
    assert [len(batch.texts) for batch in batches] == [25, 16, 12]
    for batch in batches:
        if batch.scale is not None:
            assert set(batch.scale.scores) == {text.essay_id for text in batch.texts}


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_started() -> None:
    Path("var").touch()
    outcome = run_command("demo")
    assert outcome.exit_code == 1
    assert outcome.output.startswith("Error: var/demo: Not a directory: the demo writes to var/demo of the folder")


def test_a_judge_that_cannot_be_is_told_before_anything_is_started() -> None:
    outcome = run_command("dev", "--judge", "nonsense")
    assert outcome.exit_code == 2
    assert "judge 'nonsense': write it as NAME=SPEC" in outcome.output
    assert not Path("var").exists()


def test_what_a_command_writes_is_the_users_own() -> None:
    Path("judgements.csv").write_text("a,b,winner\n" + "x,y,x\ny,z,y\nz,x,x\nx,y,y\nz,y,z\nx,z,z\n")
    assert run_command("report", "judgements.csv").exit_code == 0
    assert Path("judgements.csv.html").stat().st_mode & 0o777 == 0o600


def test_outside_a_clone_the_demo_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cj_stream, "__file__", str(tmp_path / "site-packages" / "cj_stream" / "__init__.py"))
    with pytest.raises(ValueError, match="in a clone of the repository"):
        find_examples()


def test_a_ranking_that_agrees_with_the_known_scale_is_as_expected() -> None:
    assert batch().objections(ended()) == []


def test_a_ranking_that_does_not_agree_is_named() -> None:
    upside_down = Scale("the known scale", {"good": -1.0, "bad": 1.0})
    (objection,) = batch(scale=upside_down).objections(ended())
    assert objection.startswith("b1: Spearman's correlation with the known scale is -1.000")


def test_another_end_than_the_expected_one_is_named_with_its_reason() -> None:
    assert batch().objections(ended("FAILED", "stuck")) == ["b1 ended FAILED (stuck), expected was COMPLETED"]
    assert batch("FAILED", scale=None).objections(ended()) == ["b1 ended COMPLETED, expected was FAILED"]


def test_a_failure_must_have_a_reason() -> None:
    assert batch("FAILED", scale=None).objections(ended("FAILED", "low_success_rate")) == []
    assert batch("FAILED", scale=None).objections(ended("FAILED")) == ["b1 ended FAILED without a reason"]


class Consumer:
    """Stands in for the consumer: two outcome events, then silence."""

    def __init__(self, *topics: str, **_: object) -> None:
        self.records = [record(topic, offset) for offset, topic in enumerate(topics[:2])]

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def getone(self) -> ConsumerRecord[bytes, bytes]:
        if not self.records:
            raise TimeoutError  # what the limit on time does
        return self.records.pop(0)


def record(topic: str, offset: int) -> ConsumerRecord[bytes, bytes]:
    message = {
        "event_id": f"00000000-0000-0000-0000-00000000000{offset}",
        "correlation_id": "70d20bdd-79e1-409d-961f-8469230b5ac5",
        "event_type": topic,
        "source_service": "cj_assessment_service",
        "data": {"entity_id": "b1"},
    }
    return ConsumerRecord(topic, 2, offset, 0, 0, b"b1", json.dumps(message).encode(), 0, 0, 0, ())


@pytest.mark.parametrize(
    ("expected", "read"), [({("b1", "completed")}, 1), ({("b1", "failed")}, 2), ({("b2", "x")}, 2)]
)
async def test_outcomes_are_read_until_the_expected_ones_are_there_or_time_is_up(
    monkeypatch: pytest.MonkeyPatch, expected: set[tuple[str, str]], read: int
) -> None:
    monkeypatch.setattr(clients, "AIOKafkaConsumer", Consumer)
    outcomes = await read_outcomes(Settings(), expected, seconds=1)
    assert [(outcome.kind, outcome.offset) for outcome in outcomes] == [("completed", 0), ("failed", 1)][:read]
    assert outcomes[0].event_id == "00000000-0000-0000-0000-000000000000"
