"""The page of the settings says what the settings are."""

from __future__ import annotations

import runpy
from pathlib import Path

from cj_stream.operations.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "settings.md"


def test_the_page_of_the_settings_is_the_one_that_the_settings_give() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "settings_page.py"))["page"]
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_page_names_every_variable_with_its_meaning() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    for name, field in Settings.model_fields.items():
        assert f"- `CJ_{name.upper()}`: " in text
        assert " ".join((field.description or "no description").split()) in text
