from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.installation.command_runs import run_command

VEHICLES = Path(__file__).parents[3] / "examples" / "vehicles" / "vehicles_mit.json"
CIRCLE = "judge,left,right,winner\nj1,a,b,a\nj1,b,c,b\nj2,c,a,c\n"


def score(content: str | bytes, *options: str) -> Result:
    data = content.encode() if isinstance(content, str) else content
    return run_command("score", "-", *options, input=data)


def scored(content: str | bytes, *options: str) -> dict[str, Any]:
    outcome = score(content, "--json", *options)
    assert outcome.exit_code == 0, outcome.output
    result: dict[str, Any] = json.loads(outcome.stdout)
    return result


def wins(content: str | bytes) -> dict[str, float]:
    return {item["id"]: item["wins"] for item in scored(content)["items"]}


def test_a_published_study_is_scored_as_it_was_published() -> None:
    study = json.loads(VEHICLES.read_text(encoding="utf-8"))["studies"]["nuisance_pairs"]
    names = study["items"]
    rows = [f'{judge},"{names[i]}","{names[j]}",{won}' for judge, i, j, won in study["comparisons"]]
    file = "\n".join(["judge,left,right,left_won", *rows])
    result = scored(file, "--estimator", "mle", "--position")
    r = study["r_glm_mle_with_left_effect"]
    by_name = {item["id"]: item for item in result["items"]}
    for name, theta, error in zip(names, r["theta_sum0"], r["se_sum0"], strict=True):
        assert by_name[name]["theta"] == pytest.approx(theta, abs=1e-8)
        assert by_name[name]["se"] == pytest.approx(error, abs=1e-5)
    assert result["position_bias"]["estimate"] == pytest.approx(r["left_effect"], abs=1e-8)
    nmm, published = scored(file, "--estimator", "nmm"), study["published_sirt"]
    for item in nmm["items"]:
        place = names.index(item["id"])
        assert item["theta"] == pytest.approx(published["theta"][place], abs=1e-3)
        assert item["infit"] == pytest.approx(published["infit"][place], abs=1e-3)
        assert item["outfit"] == pytest.approx(published["outfit"][place], abs=5e-3)


def test_the_json_has_exactly_the_documented_shape() -> None:
    result = scored(CIRCLE)
    assert list(result) == [
        "estimator",
        "items",
        "position_bias",
        "reliability",
        "graph",
        "converged",
        "warnings",
    ]
    assert list(result["items"][0]) == [
        "id",
        "rank",
        "theta",
        "se",
        "ci95",
        "comparisons",
        "wins",
        "infit",
        "outfit",
    ]
    assert list(result["reliability"]) == ["eap", "ssr", "ssr_formula", "separation"]
    assert result["graph"] == {"components": 1, "strong_components": 1}
    assert (result["estimator"], result["position_bias"], result["converged"], result["warnings"]) == (
        "map",
        None,
        True,
        [],
    )
    assert [item["rank"] for item in result["items"]] == [1, 2, 3]
    assert sum(item["theta"] for item in result["items"]) == pytest.approx(0, abs=1e-9)


def test_csv_holds_the_same_figures() -> None:
    rows = list(csv.DictReader(score(CIRCLE, "--csv").stdout.splitlines()))
    items = scored(CIRCLE)["items"]
    assert [row["id"] for row in rows] == [item["id"] for item in items]
    assert [float(row["ci95_low"]) for row in rows] == [item["ci95"][0] for item in items]


def test_the_table_shows_items_reliability_and_warnings() -> None:
    outcome = score("chosen,notChosen\ngood,bad\n")
    assert outcome.exit_code == 0
    for part in ("2 items, 1 judgements, estimator map", "(EAP)", "good", "95 % interval"):
        assert part in outcome.stdout
    assert "Warning: 'good' never lost to any other item: the distance to the others rests on the prior." in (
        outcome.stderr
    )


def test_the_quality_of_the_data_is_told_below_the_table() -> None:
    study = json.loads(VEHICLES.read_text(encoding="utf-8"))["studies"]["violation_pairs"]
    names = study["items"]
    rows = [f'{judge},"{names[i]}","{names[j]}",{won}' for judge, i, j, won in study["comparisons"]]
    output = score("\n".join(["judge,left,right,left_won", *rows])).stdout
    assert "25 items, 1645 judgements by 18 judges" in output
    for title in (
        "reliability",
        "levels",
        "split halves",
        "circular triads",
        "order",
        "misfitting items",
        "judges agree",
        "misfitting judges",
    ):
        assert any(line.startswith(title) for line in output.splitlines())
    assert "of the wins went to the item presented first" in output


@pytest.mark.parametrize(
    "content",
    [
        "judge,left,right,winner\nj,x,N/A,N/A\nj,x,N/A,tie\n",
        "Judge ID , LEFT, Right , Winner\nj,x,N/A,N/A\nj,x,N/A,tie\n",
        "judge;left;right;winner\nj;x;N/A;right\nj;x;N/A;draw\n",
        "judge\tItem A\tItem B\tWinner\nj\tx\tN/A\tB\nj\tx\tN/A\tequal\n",
        "sep=;\nassessor;representation_1;representation_2;selected\nj;x;N/A;2\nj;x;N/A;0\n",
        "\ufeffjudge,left,right,winner\r\nj,x,N/A,N/A\r\n\r\nj,x,N/A,tie\r\n",
        "participant_id,choice_id1,choice_id2,winner_id,choice1_text\nj,x,N/A,N/A,long\nj,x,N/A,tie,long\n",
        "judge,a,b,chose_a\nj,x,N/A,0\nj,x,N/A,0.5\n",
        "ID1,text1,ID2,text2,better_id\nx,long,N/A,longer,N/A\nx,long,N/A,longer,tie\n",
        "essay_a_id,essay_b_id,winner\nx,N/A,Essay B\nx,N/A,neither\n",
        "model_a,model_b,winner,judge\nx,N/A,model_b,j\nx,N/A,tie (bothbad),j\n",
        "item1,item2,win1,win2,tied\nx,N/A,0,1,1\nx,N/A,NA,NA,NA\n",
        "row.names,player1,player2,win1,win2\n1,x,N/A,.5,1.5\n",
        'judge,"left","right",winner\nj,"x","N/A","N/A"\nj,x,N/A,tie,,\n',
    ],
)
def test_common_exports_are_recognized(content: str) -> None:
    assert wins(content) == {"x": 0.5, "N/A": 1.5}


@pytest.mark.parametrize(
    "heading",
    [
        "id,timeTaken,createdAt,judgeId,chosen,notChosen",
        "id,time,at,judge,candidate_chosen,candidate_not_chosen",
        "n,t,at,Judge Name,Won,Lost",
        "n,t,at,rater,Winner,Loser",
    ],
)
def test_winners_and_losers_without_an_order_are_recognized(heading: str) -> None:
    content = heading + "\n1,900,now,j1,x,y\n2,800,now,j2,y,x\n3,800,now,j2,y,x\n"
    assert wins(content) == {"x": 1, "y": 2}
    outcome = score(content, "--position")
    assert outcome.exit_code == 1
    assert "does not say which item was presented first" in outcome.stderr


CITATIONS = """Biometrika,Comm Statist,730,33
Biometrika,JASA,498,320
Biometrika,JRSS-B,221,284
Comm Statist,JASA,68,813
Comm Statist,JRSS-B,17,276
JASA,JRSS-B,142,325
"""


def test_tables_of_wins_are_scored_as_published() -> None:
    """Citations among four journals (Stigler 1994), differences from Biometrika as BradleyTerry2 has them."""
    pairs = [line.split(",") for line in CITATIONS.splitlines()]
    crossed = "".join(f"0,{a},{b},{won}\n1,{b},{a},{lost}\n" for a, b, won, lost in pairs)
    tables = ("journal1,journal2,win1,win2\n" + CITATIONS, '"","winner","loser","Freq"\n2,JASA,JASA,NA\n' + crossed)
    for table in tables:
        theta = {item["id"]: item["theta"] for item in scored(table, "--estimator", "mle")["items"]}
        ahead = {name: theta[name] - theta["Biometrika"] for name in ("JRSS-B", "JASA", "Comm Statist")}
        assert ahead == pytest.approx({"JRSS-B": 0.26895, "JASA": -0.47957, "Comm Statist": -2.94907}, abs=5e-6)
    assert scored(tables[1])["warnings"] == ["The column 'Freq' was read as how many judgements a row stands for."]


def test_wins_at_home_and_away_say_who_was_first() -> None:
    content = '"home.team","away.team","home.wins","away.wins"\nDetroit,Boston,6,1\nBoston,Detroit,4,3\n'
    assert scored(content, "--position")["position_bias"]["estimate"] > 0
    alphabetical = score("team1,team2,win1,win2\nBoston,Detroit,4,3\n", "--position")
    assert "does not say which item was presented first" in alphabetical.stderr


def test_numbers_of_wins_that_are_none_are_told() -> None:
    outcome = score("item1,item2,win1,win2\na,b,2.3,1\na,b,x,1\na,b,-1,1\na,b,3,2\n")
    assert outcome.exit_code == 3
    assert outcome.stderr.splitlines()[:3] == [
        "Error: line 2: the numbers of wins are not whole; a tie may be half a win on both sides: the row is left out",
        "Error: line 3: 'x' is not a number of judgements from 0 to 100000: the row is left out",
        "Error: line 4: '-1' is not a number of judgements from 0 to 100000: the row is left out",
    ]


def test_a_verdict_that_failed_does_not_hide_what_the_others_mean() -> None:
    for left, failed in (("Essay A", "Error"), ("left", "?"), ("1", "none"), ("x", "z")):
        outcome = score(f"left,right,winner\n{f'x,y,{left}{chr(10)}' * 4}x,y,{failed}\n")
        assert outcome.exit_code == 3
        assert f"line 6: the winner '{failed}' is n" in outcome.stderr or f"line 6: '{failed}' is not" in outcome.stderr


def test_ones_and_zeros_that_could_mean_either_are_told_how_they_were_read() -> None:
    note = "The winner's column was read as the win of the first item: 1 the first won, 0 the second."
    assert note in scored("left,right,result\na,b,1\nb,a,0\n")["warnings"]
    assert wins("left,right,result\na,b,1\nb,a,0\n") == {"a": 2, "b": 0}
    assert note not in scored("left,right,left_won\na,b,1\nb,a,0\n")["warnings"]


def test_items_that_are_called_like_sides_or_numbers_are_items() -> None:
    assert wins("left,right,winner\nb,a,a\nb,a,a\na,b,a\n") == {"a": 3, "b": 0}
    assert wins("left,right,winner\n2,1,1\n1,2,1\n3,1,3\n") == {"1": 2, "2": 0, "3": 1}
    assert wins("left,right,winner\n7,9,1\n9,7,2\n8,9,1\n") == {"7": 2, "8": 1, "9": 0}


def test_other_encodings_are_read() -> None:
    text = "left,right,winner\nZoë,André,Zoë\n"
    assert wins(text.encode("utf-16")) == {"Zoë": 1, "André": 0}
    result = scored(text.encode("cp1252"))
    assert {item["id"] for item in result["items"]} == {"Zoë", "André"}
    assert "Windows-1252" in result["warnings"][0]


def test_bad_rows_are_told_with_their_lines_and_the_rest_is_scored() -> None:
    content = CIRCLE + 'j1,a\nj1,a,a,a\n"j\n1",a,b,zz\nj1,,b,b\nj1,a,b,a,b\n'
    outcome = score(content, "--json")
    assert outcome.exit_code == 3
    assert outcome.stderr.splitlines() == [
        "Error: line 5: the second item is missing: the row is left out",
        "Error: line 6: 'a' is compared with itself: the row is left out",
        "Error: line 7: the winner 'zz' is neither 'a' nor 'b': the row is left out",
        "Error: line 9: the first item is missing: the row is left out",
        "Error: line 10: has 5 cells, the heading has 4: the row is left out",
    ]
    result = json.loads(outcome.stdout)
    assert sum(item["comparisons"] for item in result["items"]) == 6
    assert result["warnings"][0] == "5 rows were left out (lines 5, 6, 7, 9, 10)."


def test_a_quotation_mark_that_swallows_the_rest_of_the_file_is_told_with_what_it_took() -> None:
    outcome = score(CIRCLE + 'j1,"a,b,a\n' + "j1,a,b,a\n" * 3, "--json")
    assert outcome.exit_code == 3
    assert "line 5: the second item is missing (a quotation mark that is not closed may have taken in the 4 lines" in (
        outcome.stderr
    )
    assert json.loads(outcome.stdout)["warnings"][0] == "1 row was left out (line 5)."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("left,right,winner\n", "no row holds a judgement"),
        ("left,right,winner\na,b,c\n", "line 2: the winner 'c' is neither 'a' nor 'b'"),
        ("name,mark\na,3\n", "the headings (the first row) are 'name', 'mark': needed are left, right and winner"),
        ('[{"left": "a", "right": "b"}]', "looks like JSON: save it as CSV with the columns left, right and winner"),
        ("left,left,right,winner\na,b,c,a\n", "there are two columns 'left'"),
        (b"PK\x03\x04\x00\x00", "the file is not text"),
    ],
)
def test_a_file_without_judgements_is_refused_with_the_reason(content: str | bytes, message: str) -> None:
    outcome = score(content)
    assert outcome.exit_code == 1
    assert message in outcome.stderr
    assert outcome.stdout == ""


def test_an_estimate_that_does_not_exist_names_the_items_and_the_way_out() -> None:
    outcome = score(CIRCLE + "j1,a,Zed,Zed\n", "--estimator", "mle")
    assert outcome.exit_code == 1
    assert "'Zed' never lost to any other item" in outcome.stderr
    assert "Use the estimator map, firth or nmm" in outcome.stderr
    for kind in ("map", "firth", "nmm"):
        warning = scored(CIRCLE + "j1,a,Zed,Zed\n", "--estimator", kind)["warnings"][0]
        assert warning.startswith("'Zed' never lost to any other item")


def test_groups_without_a_link_are_told() -> None:
    result = scored(CIRCLE + "j1,d,e,tie\n")
    assert result["graph"] == {"components": 2, "strong_components": 2}
    assert len(result["warnings"]) == 1
    assert result["warnings"][0].startswith("No comparison links 'd', 'e' with the other items: where they stand")


def test_anchors_hold_scores_from_options_and_files(tmp_path: Path) -> None:
    file = tmp_path / "anchors.csv"
    file.write_text("id,theta\na,10\n", encoding="utf-8")
    options = ("--anchors", str(file), "--anchor", "b=12.5")
    items = {item["id"]: item for item in scored(CIRCLE, *options)["items"]}
    assert (items["a"]["theta"], items["b"]["theta"]) == (10, 12.5)
    assert (items["a"]["se"], items["b"]["se"]) == (0, 0)
    assert 8 < items["c"]["theta"] < 14
    assert items["c"]["se"] > 0.5


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("x=1", "there is no item 'x' to be an anchor"),
        ("a", "'a' is not of the form id=theta"),
        ("a=high", "the theta 'high' of the anchor 'a' is not a finite number"),
    ],
)
def test_bad_anchors_are_refused(option: str, message: str) -> None:
    outcome = score(CIRCLE, "--anchor", option)
    assert outcome.exit_code == 1
    assert message in outcome.stderr


def test_two_scores_of_one_anchor_are_refused() -> None:
    outcome = score(CIRCLE, "--anchor", "a=1", "--anchor", "a=2")
    assert "the anchor 'a' has two scores, 1 and 2" in outcome.stderr


def test_all_items_tied_have_a_score_of_zero_and_no_ssr() -> None:
    result = scored("left,right,winner\na,b,tie\nb,c,tie\nc,a,tie\n")
    assert [item["theta"] for item in result["items"]] == [0, 0, 0]
    assert result["reliability"]["ssr"] is None
    assert math.isclose(result["reliability"]["eap"], 0.0)


def test_a_judge_who_always_takes_the_left_ranks_nothing_and_the_result_says_so() -> None:
    names = "abcdefghijkl"
    # Everybody meets everybody, as often on the left as on the right, as well as that goes.
    pairs = [(x, y) if (i + j) % 2 else (y, x) for i, x in enumerate(names) for j, y in enumerate(names[:i])]
    result = scored("left,right,winner\n" + "".join(f"{x},{y},{x}\n" for x, y in pairs), "--position")
    assert result["reliability"]["eap"] < 0.1
    assert result["position_bias"]["estimate"] > 2.0
    assert result["warnings"][-1] == "The reliability is 0.00: the ranking may well be chance."


def test_marks_and_grades_are_added_when_asked_for() -> None:
    rows = "".join(f"j1,{pair}\n" for pair in ("a,b,a", "b,c,b", "a,c,a", "c,b,c", "b,a,b") * 5)
    content = "judge,left,right,winner\n" + rows
    options = ("--marks", "0,100", "--grades", "low,-0.3,high")
    items = scored(content, *options)["items"]
    assert [(item["id"], item["mark"], item["grade"]) for item in items] == [
        ("a", 100, "high"),
        ("b", items[1]["mark"], items[1]["grade"]),
        ("c", 0, "low"),
    ]
    for item in items:
        assert 0.5 < item["grade_probability"] <= 1
        assert item["mark"] % 10 == 0, "the error is in the tens, and so are the digits"
    table = list(csv.DictReader(score(content, "--csv", *options).stdout.splitlines()))
    assert [row["mark"] for row in table] == [str(item["mark"]) for item in items]
    assert list(table[0])[-4:] == ["mark", "mark_se", "grade", "grade_probability"]
    shown = score(content, *options).stdout
    assert f"100 ± {items[0]['mark_se']}" in shown
    assert f"high ({items[0]['grade_probability']:.0%})" in shown


def test_marks_that_cannot_be_made_are_refused() -> None:
    outcome = score(CIRCLE, "--mark", "a=3")
    assert outcome.exit_code == 1
    assert "give at least two" in outcome.stderr
