from __future__ import annotations

import json

from click.testing import CliRunner

from cj_stream.cli.judgements.simulate import simulate

SMALL = ["--essays", "8", "--replications", "2", "--comparisons", "6", "--comparisons", "3"]


def test_the_table_names_every_way_of_pairing_and_the_seed() -> None:
    done = CliRunner().invoke(simulate, [*SMALL, "--seed", "7"])
    assert done.exit_code == 0, done.output
    assert "seed 7" in done.output
    assert all(f"{scheme}" in done.output for scheme in ("adaptive", "random", "uniform"))
    assert "█" in done.output


def test_json_has_a_result_for_each_pairing_and_number_of_comparisons() -> None:
    wish = ["--pairing", "random", "--judge", "mixed", "--position-bias", "0.5", "--seed", "7", "--json"]
    done = CliRunner().invoke(simulate, [*SMALL, *wish])
    result = json.loads(done.stdout)
    assert [(row["pairing"], row["comparisons_per_essay"], row["comparisons"]) for row in result["results"]] == [
        ("random", 3, 12),
        ("random", 6, 24),
    ]
    assert result["judge"] == {"kind": "mixed", "quality": 1.0, "position_bias": 0.5}
    assert (result["seed"], result["wave_size"], result["pairs"]) == (7, 16, 28)
    assert all(-1 <= row["spearman"] <= 1 and row["rmse"] > 0 for row in result["results"])
    assert all(set(row["monte_carlo_error"]) <= set(row) for row in result["results"])
    assert all(row["monte_carlo_error"]["rmse"] > 0 for row in result["results"])
    assert CliRunner().invoke(simulate, [*SMALL, *wish]).stdout == done.stdout


def test_the_table_tells_how_exact_its_figures_are() -> None:
    told = "Monte Carlo error, the standard error of these means: at most Spearman "
    assert f"{told}0." in " ".join(CliRunner().invoke(simulate, [*SMALL, "--seed", "7"]).output.split())
    alone = CliRunner().invoke(simulate, [*SMALL, "--replications", "1"]).output
    assert f"{told}not known" in " ".join(alone.split())


def test_it_says_that_comparisons_end_with_the_pairs() -> None:
    done = CliRunner().invoke(simulate, ["--essays", "4", "--replications", "1", "--comparisons", "9"])
    assert "6 pairs: without repeats there are no more comparisons" in done.output
    counted = {
        tuple(line.split()[i] for i in (0, 1, -1)) for line in done.output.splitlines() if line.startswith("    ")
    }
    assert {("9", "6", "adaptive"), ("9", "6", "random"), ("9", "18", "uniform")} <= counted


def test_a_seed_is_chosen_and_shown_where_none_is_given() -> None:
    seeds = {json.loads(CliRunner().invoke(simulate, [*SMALL, "--json"]).stdout)["seed"] for _ in range(2)}
    assert len(seeds) == 2


def test_one_essay_is_no_batch() -> None:
    done = CliRunner().invoke(simulate, ["--essays", "1"])
    assert done.exit_code == 2
    assert "--essays" in done.output
