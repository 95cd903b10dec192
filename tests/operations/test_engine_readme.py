"""The engine's readme tells of its code as it is: its app is the one that the tests run, and no hazard is left out."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "cj_stream" / "engine"
README = (ENGINE / "README.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line.startswith("| `")]
HAZARDS = {cells[0].strip("`"): cells[1:] for cells in ROWS if len(cells) == 4}
NAMES = {"Faust": "faust-streaming", "mode": "mode-streaming"}
CODE_LINES = 70


def test_the_app_in_the_readme_is_the_one_that_the_tests_run() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code == (ROOT / "tests" / "second_app" / "charges.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^from cj_stream\.(\w+)", code, re.MULTILINE)) == {"engine"}


def test_the_app_in_the_readme_is_short() -> None:
    lines = (ROOT / "tests" / "second_app" / "charges.py").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) and not line.startswith(("from ", "import ", '"""')) for line in lines) <= CODE_LINES


def test_every_module_that_knows_a_hazard_is_listed_and_no_other_one() -> None:
    modules = sorted(ENGINE.rglob("*.py"))
    docstrings = {str(path.relative_to(ENGINE)): ast.get_docstring(ast.parse(path.read_text())) for path in modules}
    assert set(HAZARDS) == {name for name, text in docstrings.items() if "Hazard" in (text or "")}


def test_every_hazard_names_versions_that_are_pinned_and_tests_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(each.split("==") for each in project["dependencies"])
    for module, (_hazard, versions, shown_by) in HAZARDS.items():
        named = [version.split() for version in versions.split(", ")]
        assert named, module
        assert all(pins[NAMES.get(library, library)] == version for library, version in named), module
        tests = re.findall(r"`([\w/.]+)`", shown_by)
        assert tests, module
        assert not [test for test in tests if not (ROOT / test).is_file()], module


def test_what_the_readme_names_and_links_to_exists() -> None:
    parts = [cells for cells in ROWS if len(cells) == 2]
    named = [name for cells in parts for name in re.findall(r"`([\w/]+\.py)`", cells[0])]
    assert named
    assert not [name for name in named if not (ENGINE / name).is_file()]
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert links
    assert not [target for target in links if not (ENGINE / target).exists()]
