"""Reads the judges of a gateway from text: ``NAME=KIND:options``.

simulated:qualities=FILE.csv,spread=1.5,bias=0,noise=1,seed=7,order_free=yes    every option may be left out
replay:FILE.json#STUDY,seed=7,order_free=yes                                    recorded decisions
faults:refuse=0.1,error=0.1,silent=0.1,over=replay:FILE.json#STUDY              ``over`` comes last; a simulated
                                                                                judge without it
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cj_stream.gateway.faults import Fault, Faults
from cj_stream.gateway.judges import Judge, OrderFree
from cj_stream.gateway.replay import ReplayJudge, read_study
from cj_stream.gateway.simulated import SimulatedJudge, read_qualities

DEFAULT = "default"
_TRUTH = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True)
class Bench:
    """A judge, and the trouble that its requests meet on the way."""

    judge: Judge
    faults: Faults = field(default_factory=lambda: Faults({}))


@dataclass(frozen=True)
class Benches:
    """The benches of a gateway by model name; every other name gets ``default``."""

    named: dict[str, Bench]
    default: Bench

    def for_model(self, model: str | None) -> Bench:
        """Return the bench that serves this model."""
        return self.default if model is None else self.named.get(model, self.default)


def read_benches(specs: Iterable[str], *, seed: int) -> Benches:
    """Build the benches of all ``NAME=SPEC``; the first one, or the one named ``default``, serves unknown models.

    Without any spec there is one simulated judge. ``seed`` serves those that name none.
    Raises ValueError with the offending spec and what is wrong with it.
    """
    named: dict[str, Bench] = {}
    for text in specs:
        name, equals, spec = text.partition("=")
        if not equals or not name or ":" in name:
            raise ValueError(f"judge {text!r}: write it as NAME=SPEC, for example essays=simulated:seed=7")
        if name in named:
            raise ValueError(f"judge {text!r}: there is already a judge {name!r}")
        try:
            named[name] = _bench(spec, seed)
        except (ValueError, OSError) as error:
            raise ValueError(f"judge {text!r}: {error}") from error
    if not named:
        named[DEFAULT] = _bench("simulated", seed)
    return Benches(named, named.get(DEFAULT) or next(iter(named.values())))


def _bench(spec: str, seed: int) -> Bench:
    kind, _, rest = spec.partition(":")
    if kind == "faults":
        return _faulty(rest, seed)
    if kind == "simulated":
        return Bench(_simulated(_Options(rest, seed)))
    if kind == "replay":
        return Bench(_replay(rest, seed))
    raise ValueError(f"unknown kind {kind!r}; use simulated, replay or faults")


def _faulty(rest: str, seed: int) -> Bench:
    own, over, inner_spec = rest.partition("over=")
    if inner_spec.startswith("faults"):
        raise ValueError("no faults over faults: name all shares in one spec")
    options = _Options(own, seed)
    inner = _bench(inner_spec if over else "simulated", options.seed)
    shares = {fault: options.number(fault.value, 0.0) for fault in Fault if fault.value in options}
    late_seconds = options.number("late_seconds", 60.0)
    options.refuse_leftovers()
    return Bench(inner.judge, Faults(shares, seed=options.seed, late_seconds=late_seconds))


def _simulated(options: _Options) -> Judge:
    path = options.text("qualities")
    judge = SimulatedJudge(
        seed=options.seed,
        qualities=read_qualities(Path(path)) if path else None,
        spread=options.number("spread", 1.5),
        position_bias=options.number("bias", 0.0, at_least=-math.inf),
        noise=options.number("noise", 1.0),
    )
    return _ordered(judge, options)


def _replay(rest: str, seed: int) -> Judge:
    path, hash_sign, tail = rest.partition("#")
    study, _, more = tail.partition(",")
    if not path or not hash_sign or not study:
        raise ValueError("write a replay as replay:FILE.json#STUDY")
    options = _Options(more, seed)
    return _ordered(ReplayJudge(read_study(Path(path), study), seed=options.seed), options)


def _ordered(judge: Judge, options: _Options) -> Judge:
    order_free = options.flag("order_free")
    options.refuse_leftovers()
    return OrderFree(judge) if order_free else judge


class _Options:
    """``key=value,key=value``, each taken out once, so that what is left over was misspelt."""

    def __init__(self, text: str, seed: int) -> None:
        self._values: dict[str, str] = {}
        for part in filter(None, text.split(",")):
            key, equals, value = part.partition("=")
            if not equals or key in self._values:
                raise ValueError(f"option {part!r} must be KEY=VALUE, each key once")
            self._values[key] = value
        self.seed = int(self._take("seed", str(seed), int))

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str) -> str | None:
        return self._values.pop(key, None)

    def number(self, key: str, default: float, at_least: float = 0.0) -> float:
        number = self._take(key, str(default), float)
        if not math.isfinite(number) or number < at_least:
            raise ValueError(f"option {key}: {number} is out of range")
        return number

    def flag(self, key: str) -> bool:
        return bool(self._take(key, "no", _TRUTH.__getitem__))

    def refuse_leftovers(self) -> None:
        if self._values:
            raise ValueError(f"unknown option {', '.join(sorted(self._values))}")

    def _take(self, key: str, default: str, read: Callable[[str], float]) -> float:
        value = self._values.pop(key, default)
        try:
            return read(value)
        except (ValueError, KeyError) as error:
            raise ValueError(f"option {key}: {value!r} is not a usable value") from error
