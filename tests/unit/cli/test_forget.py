"""What the command asks and says; on a real broker it is tried in tests/kafka/test_forgetting.py."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import pytest
from support.installation.command_runs import run_command
from unit.cli.fake_views import FakeViews, detail

from cj_stream.cli.operations import forget as command
from cj_stream.cli.operations.whereabouts import OUT_OF_REACH, KeptPlace

ACCEPTED = (202, {"accepted": "forget", "batch_id": "b1"})
UNKNOWN = (404, {"error": {"code": "no_such_batch", "message": "There is no batch 'b1'."}})
LIVE = (409, {"error": {"code": "no_effect", "message": "batch b1 is SCORING: cancel it, or wait for its end."}})


class Letters:
    """Stands in for the dead letters on a broker."""

    def __init__(self) -> None:
        self.numbers = [4]
        self.asked: list[set[str]] = []
        self.forgotten: list[int] = []

    async def naming(self, _settings: object, ids: Collection[str]) -> list[int]:
        self.asked.append(set(ids))
        return self.numbers

    async def forget(self, _settings: object, numbers: Sequence[int]) -> int:
        self.forgotten += numbers
        return 2


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Letters:
    async def places(_settings: object, _now: float) -> list[KeptPlace]:
        return [KeptPlace("changelog", "rows", "by tomorrow")]

    found = Letters()
    monkeypatch.setattr(command, "letters_naming", found.naming)
    monkeypatch.setattr(command, "forget_letters", found.forget)
    monkeypatch.setattr(command, "places", places)
    monkeypatch.setattr(command, "GONE_SECONDS", 0.5)
    return found


def told(views: FakeViews, *arguments: str) -> tuple[int, dict[str, Any]]:
    result = run_command("forget", *arguments, "--yes", "--json", "--url", views.url)
    return result.exit_code, json.loads(result.stdout)


def posts(views: FakeViews) -> list[str]:
    return [path for method, path in views.asked if method == "POST"]


def test_a_batch_is_forgotten_and_its_end_is_waited_for(views: FakeViews, letters: Letters) -> None:
    views.answer("/batches/b1", (200, detail()), (200, detail()), UNKNOWN)
    views.answer("/batches/b1/forget", ACCEPTED)
    status, answer = told(views, "--batch", "b1", "--reason", "asked for")
    assert (status, answer["forgotten"], answer["left"]) == (0, ["b1"], {})
    assert answer["dead_letters"] == {"deleted": 1, "written_again": 2}
    assert answer["kept"] == [{"topic": "changelog", "what": "rows", "until": "by tomorrow"}]
    assert answer["out_of_reach"] == list(OUT_OF_REACH)
    assert letters.asked == [{"b1"}]
    assert letters.forgotten == [4]
    assert '{"reason": "asked for"}' in views.bodies


def test_what_is_gone_already_is_no_error(views: FakeViews, letters: Letters) -> None:
    letters.numbers = []
    views.answer("/batches/b1", UNKNOWN)
    status, answer = told(views, "--batch", "b1")
    assert (status, answer["forgotten"], posts(views), letters.forgotten) == (0, [], [], [])


def test_a_live_batch_is_left_and_the_exit_code_says_so(views: FakeViews, letters: Letters) -> None:
    views.answer("/batches/b1", (200, detail()))
    views.answer("/batches/b1/forget", LIVE)
    status, answer = told(views, "--batch", "b1")
    assert (status, answer["forgotten"]) == (1, [])
    assert "cancel it" in answer["left"]["b1"]
    assert letters.forgotten == [4], "what can be forgotten is"


def test_rows_that_do_not_go_are_told(views: FakeViews, letters: Letters) -> None:
    views.answer("/batches/b1", (200, detail()))
    views.answer("/batches/b1/forget", ACCEPTED)
    status, answer = told(views, "--batch", "b1")
    assert (status, list(answer["left"])) == (1, ["b1"])
    assert letters.asked


def test_every_batch_of_a_user_is_found_and_who_did_not_answer_is_named(views: FakeViews, letters: Letters) -> None:
    missing = {"workers_missing": ["http://w2"], "partitions_missing": [3]}
    page = {"batches": [detail("b1"), detail("b2")], "next": None, "complete": False, "total": 2, **missing}
    views.answer("/batches?limit=1000&user=u%201", (200, page))
    views.answer("/batches?limit=1000&user=u+1", (200, page))
    for batch_id in ("b1", "b2"):
        views.answer(f"/batches/{batch_id}/forget", ACCEPTED)
        views.answer(f"/batches/{batch_id}", UNKNOWN)
    status, answer = told(views, "--user", "u 1")
    assert (status, sorted(answer["forgotten"])) == (1, ["b1", "b2"])
    assert answer["missing"] == ["http://w2", "partition 3"]
    assert letters.asked == [{"u 1", "b1", "b2"}]


def test_it_asks_before_it_deletes(views: FakeViews, letters: Letters) -> None:
    views.answer("/batches/b1", (200, detail()))
    result = run_command("forget", "--batch", "b1", "--url", views.url, input="n\n")
    assert result.exit_code == 1
    assert "1 batch(es)" in result.output
    assert "1 dead letter(s)" in result.output
    assert (posts(views), letters.forgotten) == ([], [])


@pytest.mark.parametrize("arguments", [[], ["--batch", "b", "--user", "u"]])
def test_it_wants_to_know_of_what_or_whom(arguments: list[str]) -> None:
    result = run_command("forget", *arguments, "--yes")
    assert result.exit_code == 2
    assert "--batch, --essay or --user" in result.output
