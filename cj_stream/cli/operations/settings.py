"""``cj-stream settings``: every setting with its variable, value, default and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from rich.text import Text

from cj_stream.cli.shared.options import load_settings
from cj_stream.cli.shared.output import console, echo_json, json_option
from cj_stream.operations.settings import Settings

_MASK = "********"


@click.command(epilog="Example:  CJ_BATCH_TIMEOUT_HOURS=6 cj-stream settings")
@json_option
def settings(*, as_json: bool) -> None:
    """List the settings, their values and their meaning.

    A value that is not the default is marked with *. Secrets are masked.
    """
    rows = setting_rows(load_settings())
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        _print_setting(row)


def setting_rows(current: Settings) -> list[dict[str, Any]]:
    """Return each setting's ``variable``, ``value``, ``default`` and ``description``, with secrets masked."""
    return [
        {
            "variable": f"CJ_{name.upper()}",
            "value": _shown(getattr(current, name)),
            "default": _shown(field.default),
            "is_default": getattr(current, name) == field.default,
            "description": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return _MASK
    return str(value) if isinstance(value, Path) else value


def _print_setting(row: dict[str, Any]) -> None:
    line = Text(f"{row['variable']}={_text(row['value'])}")
    if not row["is_default"]:
        line.append(f"  * default: {_text(row['default']) or 'unset'}", style="bold")
    console.print(line, soft_wrap=True)
    console.print(Text(f"    {row['description']}", style="dim"), soft_wrap=True)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)
