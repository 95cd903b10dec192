"""A judge of the product, and the trouble that its requests meet: ``faults:refuse=0.1,silent=0.1,over=SPEC``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from simulated_provider.faults import Fault, Faults

from cj_stream.gateway.judges import Judge
from cj_stream.gateway.options import Option, Options
from cj_stream.gateway.specs import read_judge

_FAULTS = (
    *(Option(fault.value, "0.1", "0") for fault in Fault),
    Option("late_seconds", "60", "60"),
    Option("seed", "7"),
)


@dataclass(frozen=True)
class Bench:
    """A judge, and the trouble that its requests meet on the way."""

    judge: Judge
    faults: Faults = field(default_factory=lambda: Faults({}))


@dataclass(frozen=True)
class Benches:
    """The benches of a provider by model name; every other name gets ``default``."""

    named: dict[str, Bench]
    default: Bench

    def for_model(self, model: str | None) -> Bench:
        return self.default if model is None else self.named.get(model, self.default)


def read_benches(specs: Iterable[str], *, seed: int) -> Benches:
    """Build the benches of all ``NAME=SPEC``; the first one serves unknown models."""
    pairs = [text.partition("=")[::2] for text in specs] or [("default", "simulated")]
    named = {name: _bench(spec, seed) for name, spec in pairs}
    return Benches(named, next(iter(named.values())))


def _bench(spec: str, seed: int) -> Bench:
    kind, _, rest = spec.partition(":")
    if kind != "faults":
        return Bench(read_judge(spec, seed=seed))
    own, over, inner = rest.partition("over=")
    options = Options(own, _FAULTS, seed)
    judge = read_judge(inner if over else "simulated", seed=options.seed)
    shares = {fault: options.number(fault.value) for fault in Fault}
    late_seconds = options.number("late_seconds")
    options.check_all_read()
    return Bench(judge, Faults(shares, seed=options.seed, late_seconds=late_seconds))
