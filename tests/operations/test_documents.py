"""What the documents name exists: files, modules, tests and the pages they link to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "cj_stream" / "engine" / "README.md"])
OURS = re.compile(r"`((?:cj_stream|tests|benchmarks|deploy|examples|docs)/[\w./-]*)`")
PAGES = [path for path in DOCUMENTS if path != ROOT / "README.md" and not path.name[:4].isdigit()]
"""Those that open with three sentences: a decision has a form of its own, and the README says more."""
LINK_TARGET = re.compile(r"\]\([^)]*\)")
TWO_SENTENCES = re.compile(r"[a-z)`*][.?!] [A-Z]")
SECTION_LINK = re.compile(r"\]\((?!https?://)([^)#]*)#([^)]+)\)")
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def sections_of(document: Path) -> set[str]:
    """Return the names by which the headings of a document are linked to."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def text_of(document: Path) -> list[str]:
    """Return the lines of a document that are text: no code, no tables, no headings."""
    parts = document.read_text(encoding="utf-8").split("```")
    return [line for part in parts[::2] for line in part.splitlines() if not line.startswith(("|", "#"))]


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_section_that_a_document_links_to_exists(document: Path) -> None:
    links = SECTION_LINK.findall(document.read_text(encoding="utf-8"))
    targets = ((document.parent / page if page else document, section) for page, section in links)
    assert [(page.name, section) for page, section in targets if section not in sections_of(page)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_line_of_text_holds_one_sentence_of_at_most_two_hundred_characters(document: Path) -> None:
    lines = [LINK_TARGET.sub("]", line) for line in text_of(document)]
    assert [line for line in lines if len(line) > 200] == []
    assert [line for line in lines if TWO_SENTENCES.search(line)] == []


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_a_page_opens_with_what_it_is_who_needs_it_and_what_to_read_before(document: Path) -> None:
    _, opening, *_ = document.read_text(encoding="utf-8").split("\n\n")
    assert len([line for line in opening.splitlines() if line.endswith(".")]) >= 3, opening


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
