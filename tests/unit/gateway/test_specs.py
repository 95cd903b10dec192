from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.wire.questions import question

from cj_stream.gateway.delayed import Delayed
from cj_stream.gateway.judges import Failure, Judge, OrderFree
from cj_stream.gateway.replay import ReplayJudge
from cj_stream.gateway.simulated import SimulatedJudge
from cj_stream.gateway.specs import KINDS, kinds_help, read_judges


@pytest.fixture
def study(tmp_path: Path) -> str:
    columns = ["judge_index0", "left_index0", "right_index0", "left_won"]
    content = {"items": ["Bus", "Car"], "comparisons_columns": columns, "comparisons": [[0, 0, 1, 1]]}
    path = tmp_path / "studies.json"
    path.write_text(json.dumps({"studies": {"vehicles": content}}))
    return f"{path}#vehicles"


def simulated(judge: Judge) -> SimulatedJudge:
    assert isinstance(judge, SimulatedJudge)
    return judge


def test_without_any_spec_there_is_one_simulated_judge() -> None:
    judges = read_judges([], seed=3)
    assert simulated(judges.for_model(None)).quality("x") == SimulatedJudge(seed=3).quality("x")
    assert judges.for_model("gpt-5") is judges.default


def test_each_model_has_its_judge_and_the_first_one_serves_the_others(study: str) -> None:
    judges = read_judges([f"vehicles=replay:{study}", "essays=simulated:seed=7"], seed=0)
    assert isinstance(judges.for_model("vehicles"), ReplayJudge)
    assert simulated(judges.for_model("essays")).quality("x") == SimulatedJudge(seed=7).quality("x")
    assert judges.for_model("gpt-5") is judges.for_model("vehicles")


def test_a_judge_named_default_serves_the_others_wherever_it_stands(study: str) -> None:
    judges = read_judges([f"vehicles=replay:{study}", "default=simulated"], seed=0)
    assert simulated(judges.for_model("gpt-5"))


def test_the_options_of_a_simulated_judge_arrive(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("essay_id,quality\na,2\nb,1\n")
    spec = f"x=simulated:qualities={tmp_path}/q.csv,bias=-0.5,noise=0.5,spread=3,seed=9"
    judge = simulated(read_judges([spec], seed=0).default)
    same = SimulatedJudge(seed=9, qualities={"a": 2, "b": 1}, position_bias=-0.5, noise=0.5, spread=3)
    for first, second in (("a", "b"), ("c", "d")):
        assert judge.first_wins(question(first, second)) == same.first_wins(question(first, second))


@pytest.mark.parametrize("spec", ["simulated:order_free=yes", "replay:{study},order_free=true,seed=2"])
def test_any_judge_can_be_made_order_free(spec: str, study: str) -> None:
    assert isinstance(read_judges(["x=" + spec.format(study=study)], seed=0).default, OrderFree)


async def test_a_simulated_judge_can_fail_on_purpose_the_same_pairs_every_time() -> None:
    judge = read_judges(["x=simulated:failures=0.5,seed=4"], seed=0).default
    pairs = [question(f"{i}", "x") for i in range(100)]
    failed = [isinstance(await judge.judge(pair), Failure) for pair in pairs]
    assert 30 < sum(failed) < 70
    assert failed == [isinstance(await judge.judge(pair), Failure) for pair in pairs]


def test_a_judge_that_calls_nothing_takes_the_time_it_is_given(study: str) -> None:
    judges = read_judges([f"slow=replay:{study},latency=2", "usual=simulated"], seed=0, latency=1)
    assert isinstance(judges.for_model("slow"), Delayed)
    assert judges.for_model("slow").scope == "mock/recorded"
    assert isinstance(judges.for_model("usual"), Delayed)
    assert isinstance(read_judges(["fast=simulated"], seed=0).default, SimulatedJudge)


def test_a_scope_leads_to_its_judge(study: str) -> None:
    judges = read_judges([f"vehicles=replay:{study}", "essays=simulated"], seed=0)
    assert judges.of_scope("mock/simulated") is judges.for_model("essays")
    assert judges.of_scope("openai/gone") is None


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("simulated", "NAME=SPEC"),
        ("=simulated", "NAME=SPEC"),
        ("simulated:seed=7", "NAME=SPEC"),
        ("x=oracle", "unknown kind 'oracle'"),
        ("x=", "unknown kind"),
        ("x=simulated:sede=7", "unknown option sede"),
        ("x=simulated:seed", "KEY=VALUE"),
        ("x=simulated:seed=1,seed=2", "each key once"),
        ("x=simulated:seed=one", "option seed: 'one'"),
        ("x=simulated:spread=-1", "option spread"),
        ("x=simulated:noise=nan", "option noise"),
        ("x=simulated:order_free=maybe", "option order_free: 'maybe'"),
        ("x=simulated:qualities=/nowhere/q.csv", "No such file"),
        ("x=replay:file.json", "replay:FILE.json#STUDY"),
        ("x=replay:/nowhere/file.json#study", "No such file"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_wrong(spec: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        read_judges([spec], seed=0)
    assert repr(spec) in str(refused.value)


def test_two_judges_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="already a judge 'x'"):
        read_judges(["x=simulated", "x=simulated"], seed=0)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_takes_the_options_that_its_help_shows_and_no_other(
    name: str, study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    (tmp_path / "q.csv").write_text("essay_id,quality\na,2\nb,1\n")
    kind = KINDS[name]
    shown = ",".join(f"{option.name}={option.example}" for option in kind.options)
    written = (kind.before + shown + kind.after).replace(", ", ",")
    filled = written.replace("FILE.json#STUDY", study).replace("FILE.csv", f"{tmp_path}/q.csv")
    assert read_judges([f"x={name}:{filled}"], seed=0).default
    assert all(f"{option.name}={option.example}" in kinds_help() for option in kind.options)
    with pytest.raises(ValueError, match="unknown option colour"):
        read_judges([f"x={name}:{study if kind.before else ''},colour=red"], seed=0)


@pytest.mark.parametrize("name", KINDS)
def test_the_help_shows_every_kind_in_lines_that_fit_a_terminal(name: str) -> None:
    assert f"  {name}:" in kinds_help()
    assert max(map(len, kinds_help().splitlines())) <= 95
