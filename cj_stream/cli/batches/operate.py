"""``cj-stream cancel``, ``retry`` and ``finalize``: an operator's commands."""

from __future__ import annotations

import click

from cj_stream.cli.shared.options import ask, url_option
from cj_stream.cli.shared.output import console, echo_json, json_option
from cj_stream.cli.shared.rendering import plain

_NEEDS = "The workers and this command need the same CJ_OPERATOR_TOKEN; `cj-stream dev` sees to that."


def _command(action: str, what: str, question: str | None) -> click.Command:
    """Make the command for ``action``; ``question`` is asked before it does what cannot be undone."""

    @click.command(name=action, help=f"{what}\n\n{_NEEDS}", epilog=f"\b\nExample:\n  cj-stream {action} my-batch\n")
    @click.argument("batch_id")
    @click.option("--reason", help="Kept with the batch.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @url_option
    @json_option
    def command(*, batch_id: str, reason: str | None, yes: bool, urls: tuple[str, ...], as_json: bool) -> None:
        if question is not None and not yes:
            click.confirm(f"{plain(batch_id).plain}: {question}", abort=True, err=True)
        answer = ask(urls, lambda client: client.command(action, batch_id, reason))
        if as_json:
            echo_json(answer)
        else:
            console.print(plain(f"{action} was accepted; see what it does: cj-stream watch {batch_id}"))

    return command


cancel = _command(
    "cancel",
    "End a batch without a ranking.",
    "end it without a ranking? Its verdicts stay visible, nothing more comes.",
)
retry = _command(
    "retry",
    "Give the failed comparisons of a live batch another attempt now; of one that has ended, publish again what its "
    "topics have refused.",
    None,
)
finalize = _command(
    "finalize", "End a live batch with a ranking from the verdicts there are.", "end it with the verdicts there are?"
)
