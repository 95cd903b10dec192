from __future__ import annotations

import pytest

from cj_stream.domain.todo import Submit
from cj_stream.effects.patience import FORGOTTEN_AFTER, Patience


def test_what_is_not_tried_again_for_long_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("cj_stream.effects.patience.time.monotonic", lambda: now)
    patience = Patience()
    for index in range(100):
        assert patience.refused_for(Submit("gone", 1, index, 1)) == 0
    now = FORGOTTEN_AFTER + 1
    assert patience.refused_for(Submit("live", 1, 0, 1)) == 0
    assert len(patience._refused) == 1


def test_the_time_counts_from_the_first_refusal_of_each_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("cj_stream.effects.patience.time.monotonic", lambda: now)
    patience, first, second = Patience(), Submit("b", 1, 0, 1), Submit("b", 1, 1, 1)
    patience.refused_for(first)
    now = 10.0
    assert (patience.refused_for(first), patience.refused_for(second)) == (10, 0)
    patience.over(first)
    now = 20.0
    assert (patience.refused_for(first), patience.refused_for(second)) == (0, 10)
