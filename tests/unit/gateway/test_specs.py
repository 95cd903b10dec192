from __future__ import annotations

import json
from pathlib import Path

import pytest
from questions import question

from cj_stream.gateway.faults import Fault
from cj_stream.gateway.judges import OrderFree, Verdict
from cj_stream.gateway.replay import ReplayJudge
from cj_stream.gateway.simulated import SimulatedJudge
from cj_stream.gateway.specs import KINDS, Bench, kinds_help, read_benches


@pytest.fixture
def study(tmp_path: Path) -> str:
    columns = ["judge_index0", "left_index0", "right_index0", "left_won"]
    content = {"items": ["Bus", "Car"], "comparisons_columns": columns, "comparisons": [[0, 0, 1, 1]]}
    path = tmp_path / "studies.json"
    path.write_text(json.dumps({"studies": {"vehicles": content}}))
    return f"{path}#vehicles"


def simulated(bench: Bench) -> SimulatedJudge:
    assert isinstance(bench.judge, SimulatedJudge)
    return bench.judge


def test_without_any_spec_there_is_one_simulated_judge() -> None:
    benches = read_benches([], seed=3)
    assert simulated(benches.for_model(None)).quality("x") == SimulatedJudge(seed=3).quality("x")
    assert benches.for_model("gpt-5") is benches.default


def test_each_model_has_its_judge_and_the_first_one_serves_the_others(study: str) -> None:
    benches = read_benches([f"vehicles=replay:{study}", "essays=simulated:seed=7"], seed=0)
    assert isinstance(benches.for_model("vehicles").judge, ReplayJudge)
    assert simulated(benches.for_model("essays")).quality("x") == SimulatedJudge(seed=7).quality("x")
    assert benches.for_model("gpt-5") is benches.for_model("vehicles")


def test_a_judge_named_default_serves_the_others_wherever_it_stands(study: str) -> None:
    benches = read_benches([f"vehicles=replay:{study}", "default=simulated"], seed=0)
    assert simulated(benches.for_model("gpt-5"))


def test_the_options_of_a_simulated_judge_arrive(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("essay_id,quality\na,2\nb,1\n")
    spec = f"x=simulated:qualities={tmp_path}/q.csv,bias=-0.5,noise=0.5,spread=3,seed=9"
    judge = simulated(read_benches([spec], seed=0).default)
    same = SimulatedJudge(seed=9, qualities={"a": 2, "b": 1}, position_bias=-0.5, noise=0.5, spread=3)
    for first, second in (("a", "b"), ("c", "d")):
        assert judge.first_wins(question(first, second)) == same.first_wins(question(first, second))


@pytest.mark.parametrize("spec", ["simulated:order_free=yes", "replay:{study},order_free=true,seed=2"])
def test_any_judge_can_be_made_order_free(spec: str, study: str) -> None:
    assert isinstance(read_benches(["x=" + spec.format(study=study)], seed=0).default.judge, OrderFree)


async def test_faults_go_over_another_judge(study: str) -> None:
    spec = f"trouble=faults:refuse=0.25,late=0.75,late_seconds=5,over=replay:{study},seed=4"
    bench = read_benches([spec], seed=0).default
    assert isinstance(await bench.judge.judge(question("Bus", "Car")), Verdict)
    assert bench.faults.late_seconds == 5
    drawn = {bench.faults.draw(question(f"{i}", "x")).fault for i in range(50)}
    assert drawn == {Fault.REFUSE, Fault.LATE}


def test_faults_alone_go_over_a_simulated_judge_with_the_same_seed() -> None:
    bench = read_benches(["trouble=faults:silent=1,seed=6"], seed=0).default
    assert simulated(bench).quality("x") == SimulatedJudge(seed=6).quality("x")
    assert bench.faults.draw(question("a", "b")).fault is Fault.SILENT


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
        ("x=faults:error=0.6,late=0.6", "between 0 and 1"),
        ("x=faults:eror=0.6", "unknown option eror"),
        ("x=faults:error=0.1,over=faults:late=0.1", "faults over faults"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_wrong(spec: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        read_benches([spec], seed=0)
    assert repr(spec) in str(refused.value)


def test_two_judges_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="already a judge 'x'"):
        read_benches(["x=simulated", "x=simulated"], seed=0)


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
    assert read_benches([f"x={name}:{filled.replace('SPEC', 'simulated')}"], seed=0).default
    assert all(f"{option.name}={option.example}" in kinds_help() for option in kind.options)
    with pytest.raises(ValueError, match="unknown option colour"):
        read_benches([f"x={name}:{study if kind.before else ''},colour=red"], seed=0)


@pytest.mark.parametrize("name", KINDS)
def test_the_help_shows_every_kind_in_lines_that_fit_a_terminal(name: str) -> None:
    assert f"  {name}:" in kinds_help()
    assert max(map(len, kinds_help().splitlines())) <= 95
