"""What needs no broker: how dead letters are chosen and shown. The rest is in tests/kafka/test_dead_letters.py."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime, timedelta

import click
import pytest
from rich.console import Console
from support.installation.command_runs import run_command

from cj_stream.cli.dead_letters.letter_output import full_row, letter_row, letters_table, print_letter, visible
from cj_stream.cli.dead_letters.selection import Filters, Moment
from cj_stream.contracts.refusal import Refused
from cj_stream.dead_letters.letter import StoredDeadLetter, dead_letter, read_dead_letter
from cj_stream.engine.dead_letter_topic import KeptLetter

MOMENT = datetime(2026, 3, 4, 9, 12, tzinfo=UTC)
HOSTILE = b"\x1b]0;owned\x07\x9b2J\xff [red]\xe2\x80\xae"


def kept(
    value: bytes | None = b"{}", *, key: bytes | None = None, reason: str = "not_json"
) -> KeptLetter[StoredDeadLetter]:
    refused = Refused(reason, "It is \x1b[31mno JSON[/]: send JSON.", batch_id="batch-1")
    written = dead_letter(
        key=key, value=value, topic="requests", partition=2, offset=17, timestamp=MOMENT, refused=refused
    )
    return KeptLetter(5, MOMENT, read_dead_letter(*written))


UNREADABLE: KeptLetter[StoredDeadLetter] = KeptLetter(6, MOMENT, None, "headers.reason: Field required")


def printed(letter: KeptLetter[StoredDeadLetter], shown: int = 2_000) -> str:
    file = io.StringIO()
    print_letter(Console(file=file, force_terminal=True, no_color=True), letter, shown)
    return file.getvalue()


def test_bytes_are_shown_as_text_with_escapes_for_what_cannot_be_printed() -> None:
    assert visible(HOSTILE) == r"\x1b]0;owned\x07\x9b2J\xff [red]\u202e"
    assert visible("å\n\x9b".encode()) == r"å\n\x9b"


@pytest.mark.parametrize("letter", [kept(HOSTILE, key=HOSTILE), kept(HOSTILE * 10_000), UNREADABLE])
def test_nothing_of_a_dead_letter_reaches_the_terminal_uninterpreted(letter: KeptLetter[StoredDeadLetter]) -> None:
    text = printed(letter)
    assert all(char.isprintable() or char == "\n" for char in text)
    listed = io.StringIO()
    Console(file=listed, force_terminal=True, no_color=True, width=200).print(letters_table([letter_row(letter)]))
    assert "\x1b]" not in listed.getvalue()
    assert "\x1b[31m" not in listed.getvalue()


def test_a_letter_is_shown_with_everything_that_is_known_of_it() -> None:
    text = printed(kept(b'{"a": 1}', key=b"a key"))
    for part in ("not_json", "send JSON", "requests", "17", "batch-1", "sha256", "a key", '{"a": 1}', "2026-03-04"):
        assert part in text


def test_of_a_long_value_the_beginning_is_shown_and_how_to_see_the_rest() -> None:
    text = printed(kept(b"x" * 5_000), shown=10)
    assert "x" * 10 in text
    assert "x" * 11 not in text
    assert "4990 more bytes" in text
    assert "--output FILE" in text


def test_a_letter_without_value_says_so() -> None:
    assert "It has no value." in printed(kept(None))


def test_for_machines_a_value_is_there_byte_by_byte_and_as_text_if_it_is_one() -> None:
    row = full_row(kept(HOSTILE))
    assert base64.b64decode(row["value_base64"]) == HOSTILE
    assert row["value_text"] is None
    assert full_row(kept("å".encode()))["value_text"] == "å"
    assert (full_row(kept(None))["value_base64"], full_row(UNREADABLE)["value_text"]) == (None, None)


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        ({}, True),
        ({"reason": "not_json"}, True),
        ({"reason": "empty"}, False),
        ({"topic": "requests", "batch_id": "batch-1"}, True),
        ({"topic": "requests", "batch_id": "batch-2"}, False),
    ],
)
def test_a_letter_is_taken_if_it_is_all_that_is_asked_for(filters: dict[str, str], taken: bool) -> None:
    assert Filters(**filters).takes(kept()) is taken  # type: ignore[arg-type] # names of texts only


def test_a_record_that_is_no_dead_letter_is_listed_and_fits_no_filter() -> None:
    assert Filters().takes(UNREADABLE)
    assert not Filters(reason="not_json").takes(UNREADABLE)
    assert letter_row(UNREADABLE)["reason"] == "not_a_dead_letter"


@pytest.mark.parametrize(
    "written", ["2026-03-04T09:12", "2026-03-04T09:12:00Z", "2026-03-04 10:12+01:00", "2026-03-04T09:12:00.000"]
)
def test_a_time_is_read_in_utc_unless_it_has_a_zone(written: str) -> None:
    assert Moment().convert(written, None, None) == MOMENT


@pytest.mark.parametrize(("written", "seconds"), [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("7d", 604_800)])
def test_a_time_can_be_so_long_ago(written: str, seconds: int) -> None:
    expected = datetime.now(UTC) - timedelta(seconds=seconds)
    assert abs(Moment().convert(written, None, None) - expected) < timedelta(minutes=1)


@pytest.mark.parametrize("written", ["yesterday", "", "7w", "-1h", "999999d", "2026-13-01"])
def test_what_is_no_time_is_told_with_examples(written: str) -> None:
    with pytest.raises(click.BadParameter, match="how long ago, as in 30m"):
        Moment().convert(written, None, None)


@pytest.mark.parametrize("command", ["list", "show", "replay", "drop"])
def test_each_command_has_help_with_an_example(command: str) -> None:
    result = run_command("dlq", command, "--help")
    assert result.exit_code == 0
    assert f"Example:  cj-stream dlq {command}" in result.output
    assert "--json" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["replay", "1", "--all"],
        ["replay", "1", "--reason", "not_json"],
        ["drop"],
        ["drop", "--yes"],
        ["drop", "--all", "--through", "1"],
    ],
)
def test_what_is_meant_has_to_be_said_in_one_way(arguments: list[str]) -> None:
    assert run_command("dlq", *arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["list"], ["show", "1"], ["replay", "--all"], ["drop", "--all", "--yes"]])
def test_without_a_broker_each_command_fails_with_advice(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CJ_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    result = run_command("dlq", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: no Kafka answers at 127.0.0.1:9")
