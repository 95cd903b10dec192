from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.installation.command_runs import Run, run_command
from unit.cli.fake_views import FakeViews, serve_views


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run in an empty folder without settings, so that a stack that runs on this machine is not found."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    for name in ("CJ_WEB_URL", "CJ_KAFKA_BOOTSTRAP", "CJ_OPERATOR_TOKEN", "CJ_CONTENT_SERVICE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def views() -> Iterator[FakeViews]:
    with serve_views() as served:
        yield served


@pytest.fixture
def run(views: FakeViews, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against the views."""
    monkeypatch.setenv("CJ_WEB_URL", views.url)
    return run_command
