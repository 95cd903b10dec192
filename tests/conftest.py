"""For all tests: code that ends its process ends its test, and not the whole run without a summary."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

_ends: list[int] = []


class WouldHaveEnded(BaseException):  # no `except Exception` of the code under test may swallow it
    """Stands in for the end of the process."""


@pytest.fixture(autouse=True, scope="session")
def _ended_processes_end_tests() -> Iterator[None]:
    # For the whole session: the tasks that a failed test leaves behind are cancelled after its fixtures have gone.
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "_exit", _instead_of(os._exit))
        yield


def _instead_of(real: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
    ours = os.getpid()

    def end(code: int) -> NoReturn:
        if os.getpid() != ours:  # a child that was forked: its end is its own
            real(code)
        _ends.append(code)
        raise WouldHaveEnded(code)

    return end


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Fail a test whose code ended the process, also when that happened in a task, a thread or the clean-up."""
    try:
        yield
    finally:
        codes = _ends.copy()
        _ends.clear()
        if codes:
            pytest.fail(
                f"the code under test ended the process, with exit code {codes}: its log says why", pytrace=False
            )
