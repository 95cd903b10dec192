from __future__ import annotations

import json
from collections import Counter

import pytest
from simulated_provider.faults import Fault, Faults, Trouble
from support.wire.questions import question

PAIRS = [question(f"essay-{i}", f"essay-{i + 1}") for i in range(3000)]
HALF = {Fault.REFUSE: 0.1, Fault.BUSY: 0.15, Fault.SILENT: 0.25}


def test_every_fault_meets_its_share_of_the_requests() -> None:
    faults = Faults(HALF, seed=4)
    drawn = Counter(faults.draw(pair).fault for pair in PAIRS)
    shares: list[tuple[Fault | None, float]] = [*HALF.items(), (None, 0.5)]
    for fault, share in shares:
        assert drawn[fault] / len(PAIRS) == pytest.approx(share, abs=0.03)


def test_the_order_of_the_requests_and_a_restart_change_nothing() -> None:
    one, other = Faults(HALF, seed=4), Faults(HALF, seed=4)
    forwards = [one.draw(pair) for pair in PAIRS[:200]]
    backwards = [other.draw(pair) for pair in reversed(PAIRS[:200])]
    assert forwards == backwards[::-1]


def test_a_repeated_request_can_fare_better() -> None:
    faults = Faults({Fault.BUSY: 0.9}, seed=4)
    assert None in {faults.draw(PAIRS[0]).fault for _ in range(200)}


def test_without_shares_nothing_goes_wrong() -> None:
    assert all(Faults({}).draw(pair) == Trouble(None) for pair in PAIRS[:50])


@pytest.mark.parametrize("shares", [{Fault.ERROR: -0.1}, {Fault.ERROR: 1.1}, {Fault.ERROR: 0.6, Fault.LATE: 0.5}])
def test_shares_that_are_no_shares_are_refused(shares: dict[Fault, float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Faults(shares)


def test_errors_come_with_several_codes() -> None:
    codes = {Trouble(Fault.ERROR, ("seed", i)).failure().code for i in range(100)}
    assert {"RATE_LIMIT", "TIMEOUT"} < codes


def test_busy_comes_in_both_forms() -> None:
    assert {Trouble(Fault.BUSY, ("seed", i)).busy_with_202() for i in range(50)} == {True, False}


def test_damage_takes_several_forms_and_the_same_one_again() -> None:
    callback = json.dumps({"event_type": "x", "data": {"winner": "Essay A"}}).encode()
    damaged = [Trouble(Fault.MALFORMED, ("seed", i)).damage(callback) for i in range(50)]
    assert len(set(damaged)) == 3
    assert callback not in damaged
    assert damaged == [Trouble(Fault.MALFORMED, ("seed", i)).damage(callback) for i in range(50)]
