from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import numpy as np
import pytest
from support.installation.command_runs import Run, run_command
from unit.cli.fake_views import FakeViews, detail, result
from unit.cli.html_checks import Page

from cj_stream.judgement_files.reader import read_judgements
from cj_stream.report.names import LONGEST_LABEL, labels
from cj_stream.scoring.estimation.estimates import estimate
from cj_stream.scoring.estimation.fit import Estimator

VEHICLES = Path(__file__).parents[3] / "examples" / "vehicles" / "vehicles_mit.json"
HOSTILE = ('<script>alert("1")</script>', "</td></table>&amp;", "$\\frac{1}{2$ \x1b[31m\u202e", "A,\"'`${}{{7*7}}")


def csv_of(rows: Sequence[Sequence[object]], heading: str = "judge,left,right,winner") -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return f"{heading}\n{file.getvalue()}"


def page_of(content: str, *options: str) -> str:
    outcome = run_command("report", "-", "--output", "-", *options, input=content.encode("utf-8", "surrogatepass"))
    assert outcome.exit_code == 0, outcome.output
    return str(outcome.stdout)


def circle(items: Sequence[str], rounds: int = 2) -> str:
    """Every item beats the next one, round and round."""
    pairs = list(zip(items, [*items[1:], items[0]], strict=True))
    return csv_of([(f"judge {k}", a, b, a) for k in range(rounds) for a, b in pairs])


def vehicles() -> tuple[str, dict[str, Any]]:
    study = json.loads(VEHICLES.read_text(encoding="utf-8"))["studies"]["nuisance_pairs"]
    names = study["items"]
    rows = [(judge, names[i], names[j], won) for judge, i, j, won in study["comparisons"]]
    return csv_of(rows, "judge,left,right,left_won"), study


def test_a_published_study_has_a_page_with_every_vehicle_every_judge_and_the_published_reliability() -> None:
    content, study = vehicles()
    html = page_of(content, "--estimator", "mle", "--position", "--marks", "0,100")
    page = Page(html)
    ranking = {row[0]: row for row in page.rows if row[0] in study["items"] and len(row) > 10}
    assert sorted(ranking) == sorted(study["items"])
    r = study["r_glm_mle_with_left_effect"]
    for name, theta, error in zip(study["items"], r["theta_sum0"], r["se_sum0"], strict=True):
        assert (float(ranking[name][4]), float(ranking[name][5])) == pytest.approx((theta, error), abs=0.006)
    assert {ranking[name][11] for name in study["items"]} >= {"0", "100"}
    judges = {str(judge) for judge, *_ in study["comparisons"]}
    assert judges <= {row[0] for row in page.rows if len(row) == 7}
    assert ["SSR, 1 - mean(SE^2) / var(theta)", "0.98"] in page.rows
    assert "maximum likelihood" in page.text
    for name in study["items"]:
        assert f". {name}" in page.text, "its line in the plot of the scores"


def test_the_page_needs_nothing_from_anywhere() -> None:
    html = page_of(circle("abcdef"))
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert not page.tags() & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not re.search(r"https?:|//www|@import|javascript:", html)
    assert re.findall(r"url\((?!#)", html) == []
    references = [value for _, attributes in page.elements for name, value in attributes.items() if name == "href"]
    assert references
    assert all(value is not None and value.startswith("#") for value in references)
    assert not [
        name for _, attributes in page.elements for name in attributes if name.startswith("on") or name == "src"
    ]


def test_every_id_on_the_page_is_unique_and_every_reference_leads_to_one() -> None:
    html = page_of(circle([f"essay {i}" for i in range(70)], 1))
    ids = [attributes["id"] for _, attributes in Page(html).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([\w.-]+)', html)) <= set(ids)


def test_pictures_have_a_title_and_a_description() -> None:
    page = Page(page_of(circle("abc")))
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(pictures) == 3
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    assert [tag for tag, _ in page.elements].count("title") == 1 + len(pictures)


def test_hostile_ids_are_shown_and_do_nothing() -> None:
    html = page_of(circle(HOSTILE), "--grades", '"<b>low",0,"{{high}}"')
    page = Page(html)
    assert not page.tags() & {"script", "b"}
    first = {row[0] for row in page.rows if row}
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[3]} <= first
    assert "$\\frac{1}{2$ \N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}" in first
    assert not {"\x1b", "\u202e"} & set(html)


def test_a_very_long_id_is_whole_in_the_table_and_short_beside_the_plot() -> None:
    long = "x" * 3000
    page = Page(page_of(circle([long, "b", "c"])))
    assert any(row and row[0] == long for row in page.rows)
    assert "3. " + "x" * 23 + "\N{HORIZONTAL ELLIPSIS}" in page.text


LONG = "The influence of social media on young people: "


def test_long_titles_with_the_same_beginning_stay_distinct_beside_the_plot() -> None:
    titles = [LONG + end for end in ("a study of 2019", "a reply", "what schools can do")]
    text = Page(page_of(circle(titles))).text
    for beside in ("dy of 2019", "e: a reply", "ols can do"):
        assert f". The influe\N{HORIZONTAL ELLIPSIS}{beside}" in text


@pytest.mark.parametrize(
    "names",
    [
        [LONG + "a", LONG + "b"],
        [LONG + middle + LONG for middle in ("one", "two", "three")],
        [LONG + each + LONG * 2 for each in ("a", "ab", "abc")],
        ["x" * length for length in range(30, 40)],
        ["作" * 30 + each for each in "ab"],
        ["x\x1b" * 20, "x\x1c" * 20],
        ["short", "short "],
    ],
)
def test_labels_differ_where_names_differ_and_are_never_long(names: list[str]) -> None:
    found = labels(names)
    assert len(set(found)) == len(names)
    wide = [sum(2 if east_asian_width(char) in "WF" else 1 for char in each) for each in found]
    assert max(wide) <= LONGEST_LABEL + 1


def test_a_name_of_wide_characters_takes_no_more_room_beside_the_plot() -> None:
    page = Page(page_of(circle(["作" * 30, "b", "c"])))
    assert "3. " + "作" * 11 + "\N{HORIZONTAL ELLIPSIS}" in page.text


def test_the_probability_of_being_above_the_next_is_that_of_the_difference() -> None:
    content, _ = vehicles()
    found = read_judgements(content.encode())
    fit = estimate(found.comparisons, Estimator.MAP)
    order = np.argsort(fit.ranks).tolist()
    told = {row[0]: row[3] for row in Page(page_of(content)).rows if row[0] in found.items and len(row) == 11}
    assert len(told) == fit.n
    for i, j in pairwise(order):
        share = fit.probability_better(i, j)
        assert told[found.items[i]] == (f"{100 * share:.0f} %" if share < 0.995 else ">99 %")
    assert told[found.items[order[-1]]] == "-"


def test_the_same_judgements_give_the_same_page_and_it_names_the_seed() -> None:
    content = circle("abcdef", 3)
    assert page_of(content) == page_of(content)
    assert ["seed of splits and rank intervals", "7"] in Page(page_of(content, "--seed", "7")).rows


def test_anchors_keep_their_scores_and_the_page_says_so() -> None:
    page = Page(page_of(circle("abcd"), "--anchor", "a=2.5", "--anchor", "c=1.5"))
    held = {row[0]: row[4:6] for row in page.rows if len(row) == 11}
    assert (held["a"], held["c"]) == (["+2.50", "0.00"], ["+1.50", "0.00"])
    assert ["scale", "2 anchors held"] in page.rows


def test_marks_by_anchors_have_no_more_digits_than_their_errors() -> None:
    pairs = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "b")]
    content = csv_of([("j", first, second, first) for first, second in pairs for _ in range(5)])
    page = Page(page_of(content, "--mark", "c=40", "--mark", "a=70"))
    marks = {row[0]: row[11:13] for row in page.rows if len(row) == 13}
    assert marks.pop("item") == ["mark", "SE of mark"]
    assert (marks["a"][0], marks["c"][0]) == ("70", "40")
    assert all(len(error.strip("0")) == 1 or error.startswith("1") for _, error in marks.values())
    assert "through 2 anchors: c = 40, a = 70" in page.text


def test_grades_come_with_their_probabilities() -> None:
    rows = [("j", a, b, a) for a, b in ("ab", "bc", "ac", "ab", "bc", "cd", "bd", "ad") for _ in range(3)]
    page = Page(page_of(csv_of(rows), "--grades", "low,-1,middle,item:b,high"))
    assert ["high", "the score of b"] in [[row[0], row[-1]] for row in page.rows]
    graded = {row[0]: row for row in page.rows if len(row) == 6}
    assert graded["item"] == ["item", "P(low)", "P(middle)", "P(high)", "P(at least middle)", "P(at least high)"]
    assert graded["a"][3].endswith("%")
    assert graded["b"][5] == ">99 %"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--marks", "0"), "is not of the form low,high"),
        (("--marks", "0,100", "--mark", "a=3"), "exclude each other"),
        (("--mark", "a=3"), "give at least two"),
        (("--mark", "a=high", "--mark", "b=3"), "the mark 'high' of the anchor 'a' is not a finite number"),
        (("--mark", "z=3", "--mark", "b=3"), "there is no item 'z'"),
        (("--grades", "C,item:z,B"), "there is no item 'z'"),
        (("--grades", "C,great,B"), "'great' is neither a number of logits nor an item"),
        (("--grades", "C,1"), "1 grades and 1 boundaries: there must be at least two grades"),
    ],
)
def test_marks_that_cannot_be_made_are_refused(options: tuple[str, ...], message: str) -> None:
    content = csv_of([("j", "a", "b", "a"), ("j", "b", "c", "b"), ("j", "c", "a", "a")])
    outcome = run_command("report", "-", "--output", "-", *options, input=content)
    assert outcome.exit_code == 1
    assert message in outcome.stderr


def test_what_limits_the_result_stands_on_top() -> None:
    content = "left,right,winner\na,b,a\nc,d,c\ne,e,e\nf,g,h\n"
    outcome = run_command("report", "-", "--output", "-", input=content)
    assert outcome.exit_code == 3, "a page, but not of all rows"
    assert "Warning: Line 4 of the file was left out: 'e' is compared with itself." in outcome.stderr
    page = Page(outcome.stdout)
    top, _, _ = page.text.partition("Key figures")
    assert "Read this first" in top
    assert "Line 4 of the file was left out: 'e' is compared with itself." in top
    assert "rests on the prior" in top
    assert "4 of 4 items were compared fewer than 8 times: their scores are rough" in top


def test_the_page_of_a_single_judge_says_what_its_reliability_cannot_tell() -> None:
    caution = "All verdicts come from one judge"
    assert caution in Page(page_of(circle("abc", rounds=1))).text
    assert caution not in Page(page_of(circle("abc", rounds=2))).text


def test_a_file_without_judges_and_without_order_says_so() -> None:
    page = Page(page_of("chosen,notChosen\na,b\nb,c\nc,a\n"))
    assert "The data do not say who judged." in page.text
    assert "The data do not say which item was presented first." in page.text


def test_an_estimate_that_does_not_exist_is_an_error_with_the_names() -> None:
    outcome = run_command("report", "-", "--estimator", "mle", input="left,right,winner\nace,b,ace\nb,c,b\n")
    assert outcome.exit_code == 1
    assert "'ace' never lost" in outcome.stderr


def test_a_file_that_is_not_there_is_not_taken_for_a_batch() -> None:
    outcome = run_command("report", "nothing.csv")
    assert outcome.exit_code == 1
    assert "nothing.csv" in outcome.stderr
    assert "worker" not in outcome.stderr


def test_the_page_is_written_beside_where_one_stands_under_the_name_of_the_file(tmp_path: Path) -> None:
    source = tmp_path / "my essays.csv"
    source.write_text(circle("abc"), encoding="utf-8")
    outcome = run_command("report", str(source))
    assert outcome.output == "Wrote my-essays.csv.html\n"
    assert Page(Path("my-essays.csv.html").read_text(encoding="utf-8")).rows


def test_without_the_extra_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "cj_stream.report.page", raising=False)
    outcome = run_command("report", "-", input=circle("abc"))
    assert outcome.exit_code == 1
    assert "needs jinja2, which is not installed: install cj-stream with its extra `report`" in outcome.stderr


def comparison(index: int, a: str, b: str, winner: str, **changes: Any) -> dict[str, Any]:
    return {
        "index": index,
        "iteration": 1 + index // 3,
        "essay_a_id": a,
        "essay_b_id": b,
        "winner": f"Essay {winner}",
        "provider": "anthropic",
        "model": "m1",
    } | changes


def serve(views: FakeViews, rows: list[dict[str, Any]], **changes: Any) -> None:
    judging = {"pairing": "adaptive", "grade_boundaries": [], "stop_rules": ["reliability", "stability"]}
    policy = {"random_iterations": 1, "reliability_target": 0.9, "judging": judging}
    metadata = {"seed": 17, "digest": "abc123"}
    views.answer("/batches/b1", (200, detail(failed_comparisons=2, policy=policy, processing_metadata=metadata)))
    views.answer("/batches/b1/result", (200, result(verdicts=len(rows)) | changes))
    path = "/batches/b1/comparisons?run=1&status=JUDGED&offset={}&limit=1000"
    for start in range(0, max(len(rows), 1), 1000):
        views.answer(path.format(start), (200, {"comparisons": rows[start : start + 1000], "total": len(rows)}))


def test_a_batch_has_a_page_with_its_stopping_reason_its_judges_and_its_policy(run: Run, views: FakeViews) -> None:
    serve(views, [comparison(i, *pair) for i, pair in enumerate([("good", "bad", "A")] * 3 + [("bad", "good", "B")])])
    outcome = run("report", "b1")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output == "Wrote b1.html\n"
    page = Page(Path("b1.html").read_text(encoding="utf-8"))
    assert ["stopped because", "reliability reached"] in page.rows
    assert ["reliability target", "0.9 (EAP reliability, 0 to 1)"] in page.rows
    assert ["stop rules", "reliability, stability"] in page.rows
    assert ["seed of the pairing", "17"] in page.rows
    assert any(row[0] == "position term in the scores" and row[1].startswith("fitted: ") for row in page.rows)
    assert [row[:2] for row in page.rows if row[0] in {"good", "bad"} and len(row) > 9] == [["good", "1"], ["bad", "2"]]
    assert "anthropic m1" in {row[0] for row in page.rows}
    assert "Pairs were chosen adaptively." in page.text
    assert "Read this first" in page.text, "that one essay won everything"


def test_all_pages_of_comparisons_are_read(run: Run, views: FakeViews) -> None:
    serve(views, [comparison(i, "good", "bad", "A" if i % 3 else "B", iteration=1) for i in range(2500)])
    assert run("report", "b1").exit_code == 0
    page = Page(Path("b1.html").read_text(encoding="utf-8"))
    assert ["comparisons", "2500"] in page.rows
    assert "Pairs were not chosen adaptively." in page.text


def test_a_batch_that_goes_on_is_called_provisional(run: Run, views: FakeViews) -> None:
    changes = {"final": False, "state": "WAITING_CALLBACKS", "stop_reason": None, "verdicts": 1}
    failed = [{"essay_id": "lost", "reason": "the text is empty"}]
    rows = [comparison(0, "good", "bad", "A"), comparison(1, "bad", "good", "A")]
    serve(views, rows, failed_essays=failed, **changes)
    assert run("report", "b1").exit_code == 0
    text = Page(Path("b1.html").read_text(encoding="utf-8")).text
    assert "The batch is WAITING_CALLBACKS: this ranking is provisional." in text
    assert "The scores rest on 2 verdicts, those of the batch's newest fit on 1" in text
    assert "The essay lost could not be ranked: the text is empty" in text


def test_a_batch_without_scores_is_told_in_the_words_of_the_view(run: Run, views: FakeViews) -> None:
    error = {"error": {"code": "no_scores", "message": "Run 1 of batch 'b1' is PENDING and has no scores yet."}}
    views.answer("/batches/b1/result", (409, error))
    outcome = run("report", "b1")
    assert outcome.exit_code == 1
    assert "has no scores yet" in outcome.stderr


def test_a_batch_of_which_one_essay_could_be_loaded_has_a_page(run: Run, views: FakeViews) -> None:
    alone = result()["ranking"][0] | {"standard_error": None, "ci95": None, "comparisons": 0, "wins": 0.0}
    serve(views, [], ranking=[alone])
    outcome = run("report", "b1")
    assert outcome.exit_code == 0, outcome.output
    page = Page(Path("b1.html").read_text(encoding="utf-8"))
    assert any(row[0].startswith("EAP reliability, ") and row[1] == "-" for row in page.rows)
    assert "nan" not in page.text
