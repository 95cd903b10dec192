"""Reads the judges of a gateway from text: ``NAME=KIND:options``. `KINDS` has every kind, and says what it takes.

A new kind is one entry there: the help of the commands and the complaint about an unknown kind come from it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cj_stream.gateway.delayed import Delayed, Latency
from cj_stream.gateway.judges import Judge, OrderFree, Unlimited
from cj_stream.gateway.models.options import OPTIONS, model_judge
from cj_stream.gateway.options import Option, Options
from cj_stream.gateway.replay import ReplayJudge, read_study
from cj_stream.gateway.simulated import SimulatedJudge, read_qualities

DEFAULT = "default"


@dataclass(frozen=True)
class Judges:
    """The judges of a gateway by model name; every other name gets ``default``."""

    named: dict[str, Judge]
    default: Judge

    def for_model(self, model: str | None) -> Judge:
        """Return the judge that serves this model."""
        return self.default if model is None else self.named.get(model, self.default)

    async def close(self) -> None:
        """Close what the judges hold open."""
        for judge in {id(judge): judge for judge in (*self.named.values(), self.default)}.values():
            await judge.close()

    def of_scope(self, scope: str) -> Judge | None:
        """Return a judge of this scope, None when there is none any more."""
        return next((judge for judge in (*self.named.values(), self.default) if judge.scope == scope), None)


def read_judges(specs: Iterable[str], *, seed: int, latency: float = 0.0) -> Judges:
    """Build the judges of all ``NAME=SPEC``; the first one, or the one named ``default``, serves unknown models.

    Without any spec there is one simulated judge. ``seed`` serves those that name none, and ``latency``, in seconds,
    those that call nothing and name none. Raises ValueError with the offending spec and what is wrong with it.
    """
    named: dict[str, Judge] = {}
    for text in specs:
        name, equals, spec = text.partition("=")
        if not equals or not name or ":" in name:
            raise ValueError(f"judge {text!r}: write it as NAME=SPEC, for example essays=simulated:seed=7")
        if name in named:
            raise ValueError(f"judge {text!r}: there is already a judge {name!r}")
        try:
            named[name] = _delayed(read_judge(spec, seed=seed), latency, seed)
        except (ValueError, OSError) as error:
            raise ValueError(f"judge {text!r}: {error}") from error
    if not named:
        named[DEFAULT] = _delayed(read_judge("simulated", seed=seed), latency, seed)
    return Judges(named, named.get(DEFAULT) or next(iter(named.values())))


def _delayed(judge: Judge, latency: float, seed: int) -> Judge:
    waits = latency > 0 and isinstance(judge, Unlimited) and not isinstance(judge, Delayed)
    return Delayed(judge, Latency(latency, seed=seed)) if waits else judge


@dataclass(frozen=True)
class Kind:
    """A kind of judge. Options stand between ``before`` and ``after``, which are shown in the help."""

    read: Callable[[str, int], Judge]
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


def read_judge(spec: str, *, seed: int) -> Judge:
    """Build the judge of one spec. Raises ValueError with what is wrong with it, OSError for a file."""
    name, _, rest = spec.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown kind {name!r}; use {', '.join(KINDS)}")
    return kind.read(rest, seed)


_SEED = Option("seed", "7")
_ORDER_FREE = Option("order_free", "yes", "no")
_PRETENDING = (_SEED, _ORDER_FREE, Option("latency", "2", "0"), Option("latency_sigma", "0.5", "0.5"))
"""Of every kind that calls nothing."""
_SIMULATED = (
    Option("qualities", "FILE.csv"),
    Option("spread", "1.5", "1.5"),
    Option("bias", "0", "0"),
    Option("noise", "1", "1"),
    Option("failures", "0.1", "0"),
    *_PRETENDING,
)
_REPLAY = _PRETENDING


def _simulated(rest: str, seed: int) -> Judge:
    options = Options(rest, _SIMULATED, seed)
    path = options.text("qualities")
    judge = SimulatedJudge(
        seed=options.seed,
        qualities=read_qualities(Path(path)) if path else None,
        spread=options.number("spread"),
        position_bias=options.number("bias", at_least=-math.inf),
        noise=options.number("noise"),
        failures=options.number("failures"),
    )
    return _ordered(judge, options)


def _replay(rest: str, seed: int) -> Judge:
    path, hash_sign, tail = rest.partition("#")
    study, _, more = tail.partition(",")
    if not path or not hash_sign or not study:
        raise ValueError("write a replay as replay:FILE.json#STUDY")
    options = Options(more, _REPLAY, seed)
    return _ordered(ReplayJudge(read_study(Path(path), study), seed=options.seed), options)


def _ordered(judge: Judge, options: Options) -> Judge:
    order_free, median, sigma = options.flag("order_free"), options.number("latency"), options.number("latency_sigma")
    options.check_all_read()
    ordered = OrderFree(judge) if order_free else judge
    return Delayed(ordered, Latency(median, sigma, options.seed)) if median else ordered


def _openai(rest: str, seed: int) -> Judge:
    return model_judge("openai", Options(rest, OPTIONS, seed))


def _anthropic(rest: str, seed: int) -> Judge:
    return model_judge("anthropic", Options(rest, OPTIONS, seed))


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
        "one always wins. The share of failures has no verdict.",
        _SIMULATED,
    ),
    "replay": Kind(_replay, "Repeats decisions that people have made in a study.", _REPLAY, before="FILE.json#STUDY, "),
}
"""Every kind of judge, by the name that a spec begins with. A kind with an option that it never reads is a bug."""
