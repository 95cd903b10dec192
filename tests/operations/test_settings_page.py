"""The pages of the settings say what the settings are."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "tools" / "settings_page.py"))
BOOKS = [TOOL["WORKERS"], TOOL["GATEWAYS"]]


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.path.stem)
def test_the_page_of_the_settings_is_the_one_that_the_settings_give(book: Any) -> None:
    assert book.path.read_text(encoding="utf-8") == TOOL["page"](book), "run `make docs`"


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.path.stem)
def test_the_page_names_every_variable_with_its_meaning(book: Any) -> None:
    text = " ".join(book.path.read_text(encoding="utf-8").split())
    for name, field in book.settings.model_fields.items():
        assert f"- `{book.settings.names.setting(name)}`: " in text
        assert " ".join((field.description or "no description").split()) in text
