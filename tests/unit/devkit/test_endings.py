from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cj_stream.devkit.endings import full_disk, named, reason, reason_of_kafka

TRACEBACK = """Traceback (most recent call last):
  File "x.py", line 1, in <module>
ValueError: no such thing

"""


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (70, "code 70"),
        (-15, "code -15 (SIGTERM)"),
        (143, "code 143 (SIGTERM)"),
        (-99, "code -99"),
        (250, "code 250"),
        (None, "an unknown code"),
    ],
)
def test_an_exit_code_is_named_as_people_know_it(code: int | None, name: str) -> None:
    assert named(code) == name


@pytest.mark.parametrize(
    ("code", "log", "why"),
    [
        (70, "[critical ] worker ends itself  exit_code=70 why='a b' x=1\nlater\n", "a b"),
        (70, "[critical ] worker ends itself  exit_code=70 why=word", "word"),
        (78, """[critical ] worker does not start exit_code=78 why="it's so" """, "it's so"),
        (70, '{"why": "no room", "exit_code": 70, "event": "worker ends itself"}\n{broken', "no room"),
        (
            70,
            '{"why": "somebody else\'s business", "event": "x"}\n',
            '{"why": "somebody else\'s business", "event": "x"}',
        ),
        (1, "Error: cannot listen\n", "cannot listen"),
        (1, TRACEBACK, "ValueError: no such thing"),
        (1, "", None),
        (0, "the last thing it did", None),
        (-9, "the last thing it did", None),
        (-11, "the last thing it did", "the last thing it did"),
    ],
)
def test_the_reason_is_what_the_process_said_last_of_its_end(code: int, log: str, why: str | None) -> None:
    assert reason(code, log) == why


def test_the_reason_of_kafka_is_its_last_error() -> None:
    log = "t INFO a\nt ERROR Shutdown broker because all log dirs have failed\nt INFO b\n"
    assert reason_of_kafka(1, log) == "t ERROR Shutdown broker because all log dirs have failed"
    assert reason_of_kafka(1, "t INFO SomeException message: the queue is shutting down") is None
    assert (
        reason_of_kafka(1, "java.lang.IllegalArgumentException: no\n\tat a.b.c")
        == "java.lang.IllegalArgumentException: no"
    )
    assert reason_of_kafka(143, log) is None


def test_a_full_disk_is_told_since_nothing_can_be_logged_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert full_disk(tmp_path) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    assert full_disk(tmp_path) == f"the disk of {tmp_path} is full"
