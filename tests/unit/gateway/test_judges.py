from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from support.wire.questions import question

from cj_stream.gateway.judges import Answer, Failure, Judge, OrderFree, Question, Unlimited, Verdict
from cj_stream.gateway.replay import ReplayJudge, read_study
from cj_stream.gateway.simulated import SimulatedJudge, read_qualities

ESSAYS = [f"essay-{number}" for number in range(12)]


async def verdict(judge: Judge, first: str, second: str) -> Verdict:
    answer = await judge.judge(question(first, second))
    assert isinstance(answer, Verdict)
    return answer


async def winners(judge: Judge, essays: list[str]) -> dict[tuple[str, str], str]:
    return {
        (first, second): first if (await verdict(judge, first, second)).winner == "A" else second
        for first, second in permutations(essays, 2)
    }


async def test_the_same_seed_gives_the_same_verdicts_after_a_restart() -> None:
    one = await winners(SimulatedJudge(seed=7), ESSAYS)
    assert await winners(SimulatedJudge(seed=7), list(reversed(ESSAYS))) == one
    assert await winners(SimulatedJudge(seed=8), ESSAYS) != one


async def test_the_share_of_wins_is_the_logistic_of_the_difference() -> None:
    pairs = 4000
    qualities = {f"{side}{i}": 0.0 if side == "low" else 1.0 for i in range(pairs) for side in ("low", "high")}
    judge = SimulatedJudge(seed=3, qualities=qualities, position_bias=0.5)
    won = [(await verdict(judge, f"high{i}", f"low{i}")).winner for i in range(pairs)].count("A") / pairs
    expected = 1 / (1 + math.exp(-1.5))
    assert judge.first_wins(question("high0", "low0")) == pytest.approx(expected)
    assert abs(won - expected) < 4 * math.sqrt(expected * (1 - expected) / pairs)


async def test_without_noise_the_better_essay_wins_in_both_orders() -> None:
    judge = SimulatedJudge(seed=1, noise=0)
    for (first, second), winner in (await winners(judge, ESSAYS)).items():
        assert winner == max(first, second, key=judge.quality)


async def test_the_confidence_stays_on_its_scale() -> None:
    judge = SimulatedJudge(seed=1, qualities={"poor": -1e6, "good": 1e6, "same": 1e6})
    assert (await verdict(judge, "good", "poor")).confidence == 5
    assert (await verdict(judge, "poor", "good")) == Verdict(
        "B", 5.0, "Essay B wins; the simulated judge gave Essay A a chance of 0%.", "mock", "simulated", cost=0.0
    )
    assert (await verdict(judge, "good", "same")).confidence == 1


async def test_an_order_free_judge_names_the_same_essay_in_both_orders() -> None:
    names = await winners(OrderFree(SimulatedJudge(seed=5, spread=0.2, position_bias=2)), ESSAYS)
    assert all(names[first, second] == names[second, first] for first, second in names)


async def test_an_order_free_judge_hands_failures_on() -> None:
    class Undecided(Unlimited):
        scope = "mock/undecided"

        async def judge(self, question: Question) -> Answer:
            return Failure("TIMEOUT", question.first)

    for first, second in (("a", "b"), ("b", "a")):
        assert await OrderFree(Undecided()).judge(question(first, second)) == Failure("TIMEOUT", "a")


def test_qualities_are_read_from_a_table(tmp_path: Path) -> None:
    path = tmp_path / "qualities.csv"
    path.write_text("\ufeffessay_id,quality,title\nessay-1,1.5,One\nessay-2,-0.25,Two\n", encoding="utf-8")
    assert read_qualities(path) == {"essay-1": 1.5, "essay-2": -0.25}


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("", "first line"),
        ("id,quality\na,1\n", "first line"),
        ("essay_id,quality\na,1\nb,good\n", "line 3"),
        ("essay_id,quality\na,nan\n", "line 2"),
        ("essay_id,quality\na\n", "line 2"),
    ],
)
def test_a_wrong_table_is_refused_with_the_line(tmp_path: Path, table: str, complaint: str) -> None:
    path = tmp_path / "qualities.csv"
    path.write_text(table)
    with pytest.raises(ValueError, match=complaint):
        read_qualities(path)


def studies(tmp_path: Path, **changes: Any) -> Path:
    study: dict[str, Any] = {
        "items": ["Bus", "Car", "Canoe", "Drone"],
        "comparisons_columns": ["judge_index0", "left_index0", "right_index0", "left_won"],
        "comparisons": [[0, 0, 1, 1], [1, 1, 0, 0], [2, 0, 1, 0], [0, 2, 0, 0]],
    }
    path = tmp_path / "studies.json"
    path.write_text(json.dumps({"licence": "MIT", "studies": {"vehicles": {**study, **changes}}}))
    return path


def replay(tmp_path: Path, seed: int = 0) -> ReplayJudge:
    return ReplayJudge(read_study(studies(tmp_path), "vehicles"), seed=seed)


async def test_left_won_means_that_the_item_shown_left_won(tmp_path: Path) -> None:
    judge = replay(tmp_path)
    assert (await verdict(judge, "Bus", "Canoe")).winner == "A"
    assert (await verdict(judge, "Canoe", "Bus")).winner == "B"


async def test_a_pair_judged_often_is_answered_with_the_shares_recorded(tmp_path: Path) -> None:
    drawn = Counter([(await verdict(replay(tmp_path, seed), "Bus", "Car")).winner for seed in range(600)])
    assert drawn["A"] / 600 == pytest.approx(2 / 3, abs=0.08)


async def test_the_same_seed_replays_the_same_decision(tmp_path: Path) -> None:
    first = [await verdict(replay(tmp_path, seed), "Bus", "Car") for seed in range(20)]
    assert [await verdict(replay(tmp_path, seed), "Bus", "Car") for seed in range(20)] == first


async def test_a_pair_nobody_judged_is_a_failure_that_says_so(tmp_path: Path) -> None:
    answer = await replay(tmp_path).judge(question("Car", "Drone"))
    assert answer == Failure("VALIDATION_ERROR", "nobody judged 'Car' against 'Drone'")


@pytest.mark.parametrize("stranger", ["bus", "Bus ", "item-Bus", ""])
async def test_item_names_match_exactly_or_not_at_all(tmp_path: Path, stranger: str) -> None:
    answer = await replay(tmp_path).judge(question("Car", stranger))
    assert answer == Failure("VALIDATION_ERROR", f"the recorded study has no item {stranger!r}")


def test_an_unknown_study_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it has vehicles"):
        read_study(studies(tmp_path), "cars")


@pytest.mark.parametrize(
    "changes",
    [
        {"comparisons_columns": ["judge_index0", "left_index0", "right_index0", "right_won"]},
        {"comparisons": [[0, 1]]},
        {"comparisons": [[0, 1, 9, 1]]},
        {"comparisons": [[0, 1, 2, 2]]},
        {"items": None},
    ],
)
def test_a_study_of_another_form_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"studies\.json"):
        read_study(studies(tmp_path, **changes), "vehicles")


async def test_replayed_wins_agree_with_the_published_scale_of_the_study() -> None:
    path = Path(__file__).parents[3] / "examples" / "vehicles" / "vehicles_mit.json"
    study = read_study(path, "vehicle_pairs")
    judge = ReplayJudge(study, seed=1)
    wins = Counter((await winners(judge, list(study.items))).values())
    published = json.loads(path.read_bytes())["studies"]["vehicle_pairs"]["published_sirt"]["theta"]
    assert statistics.correlation([wins[item] for item in study.items], published) > 0.95
