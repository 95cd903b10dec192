from __future__ import annotations

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from cj_stream.engine.overrides import sources
from cj_stream.engine.process import NOT_CONFIGURED

METHOD = "faust.transport.consumer.Consumer._new_offset"


class RefusedError(BaseException):
    """Stands in for the end of the process."""


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    problems: list[str] = []

    def refuse(found: list[str]) -> None:
        problems.extend(found)
        raise RefusedError(NOT_CONFIGURED)

    monkeypatch.setattr(sources, "refuse_to_start", refuse)
    return problems


@pytest.fixture
def other_faust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the file with Faust's consumer, which is looked at instead."""
    real = find_spec

    def find(module: str) -> object:
        return SimpleNamespace(origin=str(copy)) if module == "faust.transport.consumer" else real(module)

    spec = real("faust.transport.consumer")
    assert spec is not None
    assert spec.origin is not None
    copy = tmp_path / "consumer.py"
    copy.write_text(Path(spec.origin).read_text())
    monkeypatch.setattr(sources, "find_spec", find)
    return copy


def test_the_installed_libraries_are_the_reviewed_ones(refused: list[str]) -> None:
    sources.verify_sources()
    assert refused == []


def test_everything_relied_on_was_reviewed() -> None:
    assert sources._missing() == []
    assert json.loads(sources.REVIEWED.read_text()).keys() == sources.digests().keys()


def test_a_changed_method_is_refused_and_named_with_what_to_do(refused: list[str], other_faust: Path) -> None:
    text = other_faust.read_text()
    other_faust.write_text(text.replace("if min(acked) - committed_offset > 1:", "if min(acked) > committed_offset:"))
    with pytest.raises(RefusedError):
        sources.verify_sources()
    (problem,) = refused
    assert problem.startswith(f"{METHOD} is not the source that was reviewed")
    assert "python -m cj_stream.engine.overrides.sources" in problem


def test_a_method_that_is_gone_is_refused(refused: list[str], other_faust: Path) -> None:
    other_faust.write_text(other_faust.read_text().replace("def _new_offset(", "def _next_offset("))
    with pytest.raises(RefusedError):
        sources.verify_sources()
    assert [problem.split()[0] for problem in refused] == [METHOD]


def test_a_change_elsewhere_in_the_file_is_not_refused(refused: list[str], other_faust: Path) -> None:
    other_faust.write_text(
        "# another comment\n" + other_faust.read_text().replace("def unacked(", "def unacknowledged(")
    )
    sources.verify_sources()
    assert refused == []


def test_another_version_is_refused(refused: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.VERSIONS, "aiokafka", "0.13.0")
    with pytest.raises(RefusedError):
        sources.verify_sources()
    assert refused[0].startswith("aiokafka is 0.14.0, but 0.13.0 was reviewed")


def test_faust_without_its_compiled_stream_is_refused(refused: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faust.streams._CStreamIterator", None)
    with pytest.raises(RefusedError):
        sources.verify_sources()
    assert "NO_CYTHON" in refused[0]


def test_no_worker_is_built_before_the_sources_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RefusedError(NOT_CONFIGURED)

    monkeypatch.setattr("cj_stream.engine.starting.verify_sources", refuse)
    monkeypatch.delitem(sys.modules, "cj_stream.app", raising=False)
    monkeypatch.setattr("cj_stream.operations.logs.configure_logs", lambda *_: None)
    with pytest.raises(RefusedError):
        importlib.import_module("cj_stream.app")
