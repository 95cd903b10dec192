"""Reads the judges of a gateway from text: ``NAME=KIND:options``. `KINDS` has every kind, and says what it takes.

A new kind is one entry there: the help of the commands and the complaint about an unknown kind come from it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cj_stream.gateway.faults import Fault, Faults
from cj_stream.gateway.judges import Judge, OrderFree
from cj_stream.gateway.models.options import OPTIONS, model_judge
from cj_stream.gateway.options import Option, Options
from cj_stream.gateway.replay import ReplayJudge, read_study
from cj_stream.gateway.simulated import SimulatedJudge, read_qualities

DEFAULT = "default"


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


@dataclass(frozen=True)
class Kind:
    """A kind of judge. Options stand between ``before`` and ``after``, which are shown in the help."""

    read: Callable[[str, int], Bench]
    """Makes it from the text behind the kind and the seed of those that name none."""
    about: str
    """One or two sentences for the help."""
    options: tuple[Option, ...]
    before: str = ""
    after: str = ""


def kinds_help(width: int = 95) -> str:
    """Return how each kind is written, and what it does, in lines of ``width`` characters at most."""
    return "\n".join(line for name, kind in KINDS.items() for line in _kind_help(name, kind, width))


def _kind_help(name: str, kind: Kind, width: int) -> Iterator[str]:
    options = ", ".join(f"{option.name}={option.example}" for option in kind.options)
    margin = " " * (len(name) + 3)
    for at, line in enumerate(textwrap.wrap(kind.before + options + kind.after, width - len(margin))):
        yield (f"  {name}:" if at == 0 else margin) + line.replace(", ", ",")
    yield from textwrap.wrap(kind.about, width, initial_indent="      ", subsequent_indent="      ")


def _bench(spec: str, seed: int) -> Bench:
    name, _, rest = spec.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown kind {name!r}; use {', '.join(KINDS)}")
    return kind.read(rest, seed)


_SEED = Option("seed", "7")
_ORDER_FREE = Option("order_free", "yes", "no")
_SIMULATED = (
    Option("qualities", "FILE.csv"),
    Option("spread", "1.5", "1.5"),
    Option("bias", "0", "0"),
    Option("noise", "1", "1"),
    _SEED,
    _ORDER_FREE,
)
_REPLAY = (_SEED, _ORDER_FREE)
_FAULTS = (*(Option(fault.value, "0.1", "0") for fault in Fault), Option("late_seconds", "60", "60"), _SEED)


def _simulated(rest: str, seed: int) -> Bench:
    options = Options(rest, _SIMULATED, seed)
    path = options.text("qualities")
    judge = SimulatedJudge(
        seed=options.seed,
        qualities=read_qualities(Path(path)) if path else None,
        spread=options.number("spread"),
        position_bias=options.number("bias", at_least=-math.inf),
        noise=options.number("noise"),
    )
    return _ordered(judge, options)


def _replay(rest: str, seed: int) -> Bench:
    path, hash_sign, tail = rest.partition("#")
    study, _, more = tail.partition(",")
    if not path or not hash_sign or not study:
        raise ValueError("write a replay as replay:FILE.json#STUDY")
    options = Options(more, _REPLAY, seed)
    return _ordered(ReplayJudge(read_study(Path(path), study), seed=options.seed), options)


def _faulty(rest: str, seed: int) -> Bench:
    own, over, inner_spec = rest.partition("over=")
    if inner_spec.startswith("faults"):
        raise ValueError("no faults over faults: name all shares in one spec")
    options = Options(own, _FAULTS, seed)
    inner = _bench(inner_spec if over else "simulated", options.seed)
    shares = {fault: options.number(fault.value) for fault in Fault}
    late_seconds = options.number("late_seconds")
    options.check_all_read()
    return Bench(inner.judge, Faults(shares, seed=options.seed, late_seconds=late_seconds))


def _ordered(judge: Judge, options: Options) -> Bench:
    order_free = options.flag("order_free")
    options.check_all_read()
    return Bench(OrderFree(judge) if order_free else judge)


def _openai(rest: str, seed: int) -> Bench:
    return Bench(model_judge("openai", Options(rest, OPTIONS, seed)))


def _anthropic(rest: str, seed: int) -> Bench:
    return Bench(model_judge("anthropic", Options(rest, OPTIONS, seed)))


KINDS = {
    "openai": Kind(
        _openai,
        "Asks a language model at any endpoint that speaks OpenAI's chat completions, with the key from the "
        "environment: OPENAI_API_KEY, or the variable named here. Prices: US dollars a million tokens.",
        OPTIONS,
    ),
    "anthropic": Kind(_anthropic, "The same with Anthropic's messages, and ANTHROPIC_API_KEY.", OPTIONS),
    "simulated": Kind(
        _simulated,
        "Compares the qualities of the essays (logits), from the file or drawn by their ids; with noise=0 the better "
        "one always wins.",
        _SIMULATED,
    ),
    "replay": Kind(_replay, "Repeats decisions that people have made in a study.", _REPLAY, before="FILE.json#STUDY, "),
    "faults": Kind(
        _faulty,
        "These shares of the requests go wrong, over another judge; without one, over a simulated judge.",
        _FAULTS,
        after=", over=SPEC",
    ),
}
"""Every kind of judge, by the name that a spec begins with. A kind with an option that it never reads is a bug."""
