"""``cj-stream explain``: what a batch is waiting for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cj_stream.cli.shared.degraded import tell_degraded
from cj_stream.cli.shared.options import ask, url_option
from cj_stream.cli.shared.output import console, echo_json, json_option
from cj_stream.cli.shared.rendering import errors_table, plain, state_text

_EPILOG = """\b
Example:
  cj-stream explain my-batch
"""


@click.command(epilog=_EPILOG)
@click.argument("batch_id")
@url_option
@json_option
def explain(*, batch_id: str, urls: tuple[str, ...], as_json: bool) -> None:
    """Say what a batch waits for, since when, what happens next by itself, and what an operator can do."""
    answer = ask(urls, lambda client: client.explain(batch_id))
    if as_json:
        echo_json(answer)
    else:
        _print(answer)
    tell_degraded(answer)


def _print(answer: Mapping[str, Any]) -> None:
    console.print(plain(f"{answer['batch_id']}, run {answer['run']}:"), state_text(answer["state"]))
    _line("now", f"{answer['waiting_for']} (since {answer['since']})")
    _line("postponed", answer["postponed"])
    _line("breaker", _breaker(answer.get("breaker")))
    if answer["next_event"]:
        _line("next", f"{answer['next_event']['at']}: {answer['next_event']['what']}")
    for effect in answer["effects_to_do"]:
        _line("to do", effect["what"])
    for refused in answer.get("unpublishable", ()):
        _line("refused", f"{refused['outcome']}: {refused['why']}")
    for hint in answer["hints"]:
        _line("hint", hint)
    if answer["last_errors"]:
        console.print(errors_table(answer["last_errors"]))


def _breaker(breaker: Mapping[str, Any] | None) -> str | None:
    if breaker is None:
        return None
    whose = "this batch" if breaker["own_failures"] else f"batch {breaker['failures_of']}"
    return (
        f"{breaker['scope']} is {breaker['state'].replace('_', ' ')} after failures, the last of {whose}: "
        f"{breaker['why']}; next probe {breaker['next_probe_at']}"
    )


def _line(title: str, text: str | None) -> None:
    if text:
        console.print(plain(f"  {title:<10} {text}"), soft_wrap=True)
