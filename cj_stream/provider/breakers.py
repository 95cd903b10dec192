"""A circuit breaker for each provider and model: one that fails holds up nobody who asks another.

A *scope* is a provider and a model, as `scope_of` names them. What is known of a scope is kept only while it has
failures or a trouble, so requests that name ever new models leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog

from cj_stream.operations.troubles import LastTrouble, Trouble
from cj_stream.provider.breaker import BreakerState, CircuitBreaker

log = structlog.get_logger(__name__)


class BreakerChange(StrEnum):
    """What a breaker can do: each is a line in the log and counted."""

    OPENED = "opened"
    PROBED = "probed"
    CLOSED = "closed"


def scope_of(provider: str, model: str | None) -> str:
    """Return the name of a provider and model; without a model the provider chooses one."""
    return f"{provider}/{model}" if model else provider


@dataclass(frozen=True)
class HeldUp:
    """A scope whose breaker is not closed: whose failures opened it, and when the next probe may go, epoch seconds."""

    scope: str
    state: BreakerState
    batch_id: str
    why: str
    next_probe_at: float


class _Circuit:
    """What is known of one scope."""

    def __init__(self, breaker: CircuitBreaker, trouble: LastTrouble) -> None:
        self.breaker = breaker
        self.trouble = trouble
        self.batch_id = ""
        """The batch of the last failure."""

    @property
    def is_clean(self) -> bool:
        return self.breaker.is_clean and self.trouble.current is None


class Breakers:
    """The breakers of one client. ``clock`` returns seconds and never goes back, ``now`` seconds since the epoch.

    Every call that `admit` let pass must be reported back as ``succeeded``, ``failed`` or ``abandoned``. ``changed``
    hears of every change, ``told`` of troubles with a scope that last, and with None of their end.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        now: Callable[[], float],
        *,
        failures_to_open: int,
        recovery_seconds: float,
        changed: Callable[[BreakerChange], None] = lambda _: None,
        told: Callable[[str, Trouble | None], None] = lambda _scope, _trouble: None,
    ) -> None:
        self._clock = clock
        self._now = now
        self._failures_to_open = failures_to_open
        self._recovery_seconds = recovery_seconds
        self._changed = changed
        self._told = told
        self._circuits: dict[str, _Circuit] = {}

    def admit(self, scope: str, batch_id: str) -> float:
        """Return 0 when a call for the batch may go ahead, else the seconds after which to ask again."""
        circuit = self._circuits.get(scope)
        if circuit is None:
            return 0.0
        probes = circuit.breaker.state is not BreakerState.CLOSED
        wait = circuit.breaker.admit()
        if probes and wait == 0:
            self._changed(BreakerChange.PROBED)
            log.info("the circuit breaker is probed", scope=scope, batch_id=batch_id)
        return wait

    def succeeded(self, scope: str) -> None:
        """Report a call that was answered as it should be."""
        if (circuit := self._circuits.get(scope)) is not None:
            self._answered(scope, circuit)
            circuit.trouble.over()
            self._forget(scope, circuit)

    def failed(self, scope: str, batch_id: str, what: str, remedy: str | None = None) -> None:
        """Report a call for the batch that was not answered; ``remedy`` is what somebody has to change, if anybody."""
        circuit = self._circuit(scope)
        before = circuit.breaker.state
        circuit.breaker.failed()
        circuit.batch_id = batch_id
        circuit.trouble.note(what, remedy)
        if circuit.breaker.state is BreakerState.OPEN is not before:
            self._changed(BreakerChange.OPENED)
            log.warning(
                "the circuit breaker opens",
                scope=scope,
                batch_id=batch_id,
                why=str(circuit.trouble.current),
                next_probe_in_seconds=round(circuit.breaker.remaining(), 1),
            )

    def troubled(self, scope: str, batch_id: str, what: str, remedy: str) -> None:
        """Report a call that was answered, but as it will be until somebody changes something."""
        circuit = self._circuit(scope)
        self._answered(scope, circuit)
        circuit.batch_id = batch_id
        circuit.trouble.note(what, remedy)

    def abandoned(self, scope: str) -> None:
        """Report a call that was cancelled and so tells nothing."""
        if (circuit := self._circuits.get(scope)) is not None:
            circuit.breaker.abandoned()

    def trouble(self, scope: str) -> Trouble | None:
        """Return the last trouble with a scope, None when it answered as it should since."""
        circuit = self._circuits.get(scope)
        return None if circuit is None else circuit.trouble.current

    def held_up(self, scope: str) -> HeldUp | None:
        """Return who holds a scope up and until when, None while its breaker is closed."""
        circuit = self._circuits.get(scope)
        if circuit is None or circuit.breaker.state is BreakerState.CLOSED:
            return None
        next_probe_at = self._now() + max(circuit.breaker.remaining(), 0.0)
        why = str(circuit.trouble.current or "unknown")
        return HeldUp(scope, circuit.breaker.state, circuit.batch_id, why, next_probe_at)

    def __iter__(self) -> Iterator[HeldUp]:
        return (held for scope in list(self._circuits) if (held := self.held_up(scope)) is not None)

    def states(self) -> Mapping[str, int]:
        """Return the scopes whose breaker is not closed: 1 for one that may be probed, 2 for an open one."""
        return {held.scope: 2 if held.state is BreakerState.OPEN else 1 for held in self}

    def _circuit(self, scope: str) -> _Circuit:
        if scope not in self._circuits:
            breaker = CircuitBreaker(
                self._clock, failures_to_open=self._failures_to_open, recovery_seconds=self._recovery_seconds
            )
            trouble = LastTrouble(self._now, lambda trouble: self._told(scope, trouble))
            self._circuits[scope] = _Circuit(breaker, trouble)
        return self._circuits[scope]

    def _answered(self, scope: str, circuit: _Circuit) -> None:
        if circuit.breaker.state is not BreakerState.CLOSED:
            self._changed(BreakerChange.CLOSED)
            log.info("the circuit breaker closes: the provider answers again", scope=scope)
        circuit.breaker.succeeded()

    def _forget(self, scope: str, circuit: _Circuit) -> None:
        if circuit.is_clean:
            del self._circuits[scope]
