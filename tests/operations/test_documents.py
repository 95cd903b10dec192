"""What the documents name exists: files, modules, tests and the pages they link to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OURS = re.compile(r"`((?:cj_stream|tests|benchmarks|deploy|examples|docs)/[\w./-]*)`")
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    missing = [name for name in OURS.findall(text) if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_page_that_a_document_links_to_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    missing = [target for target in LINK.findall(text) if not (document.parent / target).exists()]
    assert not missing


def test_the_guarantees_name_only_rules_and_checks_that_there_are() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    account = (ROOT / "tests" / "kills" / "account.py").read_text(encoding="utf-8")
    rules = set(re.findall(r"rules? ((?:`\w+`(?:, | and )?)+)", text.replace("\n", " ")))
    named = {rule for some in rules for rule in re.findall(r"\w+", some)} - {"and"}
    assert named
    assert not {rule for rule in named if f"def {rule}(" not in account}
    simulated = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "simulation").glob("*.py"))
    checks = re.findall(r'"((?:a|an|every|no|one|the) [a-z][^"]+)"', text.replace("\n  ", " "))
    assert checks
    assert not [check for check in checks if f'"{check}"' not in simulated]
