"""What is shipped agrees with itself: pins, locks, image, licence, targets, and no trace of one machine or registry."""

from __future__ import annotations

import ast
import csv
import re
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.lock", "requirements-judges.lock", "requirements-dev.lock", "requirements-bench.lock")

# Put together from pieces, so that this file does not contain what it looks for.
REGISTRY_HOSTS = re.compile(
    "|".join(
        host.replace(" ", r"\.")
        for host in ("pypi org", "python" + "hosted", "maven org", "npmjs org", "debian org", "crates io", "golang org")
    )
)
MACHINE_PATHS = re.compile(r"(?<![\w.:/-])/" + r"(?:work|root|tmp|home|Users|farm)/\w")


def locked(name: str) -> dict[str, list[str]]:
    """Read a lock: ``{requirement line without hashes: its hashes}``."""
    requirements: dict[str, list[str]] = {}
    for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        requirement, *hashes = line.split(" --hash=")
        requirements[requirement.strip()] = [value.strip() for value in hashes]
    return requirements


def locked_versions(name: str) -> dict[str, str]:
    pins = (requirement.partition(";")[0].strip() for requirement in locked(name))
    return dict(pin.split("==") for pin in pins)


def pins(requirements: list[str]) -> dict[str, str]:
    exact = (re.fullmatch(r"([\w-]+)(?:\[[\w,-]+\])?==([\w.]+)", each) for each in requirements)
    return {match[1]: match[2] for match in exact if match is not None}


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git clone, so there is no list of tracked files")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_dependency_is_pinned_to_one_version() -> None:
    requirements = [
        *PROJECT["dependencies"],
        *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
    ]
    loose = [each for each in requirements if not pins([each]) and not each.startswith("cj-stream[")]
    assert loose == []


def test_the_runtime_lock_holds_every_pin_of_the_service() -> None:
    wanted = pins(PROJECT["dependencies"])
    assert wanted
    assert wanted.items() <= locked_versions("requirements.lock").items(), "run `make lock`"


def test_the_development_lock_holds_every_pin_of_the_extras() -> None:
    extras = dict(PROJECT["optional-dependencies"])
    compared = pins(extras.pop("bench"))
    wanted = pins([one for extra in extras.values() for one in extra])
    assert wanted
    assert wanted.items() <= locked_versions("requirements-dev.lock").items(), "run `make lock`"
    assert compared.items() <= locked_versions("requirements-bench.lock").items(), "run `make lock`"


def test_the_lock_of_the_judges_holds_their_sdks_and_agrees_with_the_others() -> None:
    lock = locked_versions("requirements-judges.lock")
    assert pins(PROJECT["optional-dependencies"]["judges"]).items() <= lock.items(), "run `make lock`"
    assert (
        locked_versions("requirements.lock").items() <= lock.items() <= locked_versions("requirements-dev.lock").items()
    )
    assert not {"openai", "anthropic", "genai-prices"} & locked_versions("requirements.lock").keys()


def test_benchmarks_run_with_the_versions_that_the_service_runs_with() -> None:
    shared = locked_versions("requirements.lock")
    assert {
        name: version for name, version in locked_versions("requirements-bench.lock").items() if name in shared
    } == {name: version for name, version in shared.items() if name != "setuptools"}


def test_tests_run_with_the_versions_that_the_service_runs_with() -> None:
    assert locked_versions("requirements.lock").items() <= locked_versions("requirements-dev.lock").items()


def test_the_package_is_built_by_the_locked_backend() -> None:
    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert pins(system["requires"]).items() <= locked_versions("requirements.lock").items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_one_pinned_version_with_its_hashes(lock: str) -> None:
    requirements = locked(lock)
    assert requirements
    for requirement, hashes in requirements.items():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", requirement), f"{lock}: {requirement!r}"
        assert hashes, f"{lock}: {requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), f"{lock}: {requirement}"


def test_no_tracked_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {match.group()}"
        for file in tracked_files()
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        for match in [REGISTRY_HOSTS.search(line) or MACHINE_PATHS.search(line)]
        if match is not None
    ]
    assert found == []


@pytest.mark.parametrize("text", ["see https://pypi" + ".org/x", "cd /" + "work/main", 'open("/' + 'tmp/x")'])
def test_the_search_for_registries_and_paths_finds_them(text: str) -> None:
    assert REGISTRY_HOSTS.search(text) or MACHINE_PATHS.search(text)


def test_everything_the_image_copies_is_there_and_sent_to_the_builder() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for copy in copies for source in copy.split()}
    sent = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert [source for source in sorted(sources) if not (ROOT / source).exists()] == []
    assert sources == sent


def test_the_image_has_a_python_that_the_package_allows() -> None:
    image = re.search(r"^ARG PYTHON_IMAGE=python:(\d+)\.(\d+)-slim", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    smallest = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["requires-python"])
    assert image is not None
    assert smallest is not None
    assert tuple(map(int, image.groups())) >= tuple(map(int, smallest.groups()))


def test_the_image_does_not_run_as_root() -> None:
    last_stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER (?!root)\w+$", last_stage, re.MULTILINE)


def test_the_licence_and_the_attribution_are_part_of_the_package() -> None:
    assert PROJECT["license-files"] == ["LICENSE", "NOTICE"]
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "Copyright (c) 2023 George Kinnear" in (ROOT / "NOTICE").read_text()


def test_every_folder_of_tests_is_run_by_make_test() -> None:
    makefile = (ROOT / "Makefile").read_text()
    run = re.search(r"addprefix tests/,([\w ]+)\)", makefile)
    assert run is not None
    with_tests = {file.relative_to(ROOT / "tests").parts[0] for file in (ROOT / "tests").rglob("test_*.py")}
    assert with_tests <= set(run[1].split())


def test_make_without_a_target_lists_every_target() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    shown = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, check=True
    ).stdout
    assert [name for name in targets[1].split() if f"make {name} " not in shown] == []


def test_the_example_producer_is_fifteen_lines_of_code() -> None:
    source = (ROOT / "examples" / "send_request.py").read_text()
    docstring, *statements = ast.parse(source).body
    assert isinstance(docstring, ast.Expr)
    lines = source.splitlines()
    code = {
        number for each in statements for number in range(each.lineno, (each.end_lineno or 0) + 1) if lines[number - 1]
    }
    assert len(code) <= 15


def test_every_example_essay_has_a_quality_and_the_names_do_not_give_the_order_away() -> None:
    folder = ROOT / "examples" / "essays"
    with (folder / "qualities.csv").open(newline="") as file:
        qualities = {row["essay_id"]: float(row["quality"]) for row in csv.DictReader(file)}
    assert len(qualities) >= 14
    assert sorted(qualities) == sorted(path.stem for path in folder.glob("*.txt"))
    assert len(set(qualities.values())) == len(qualities)
    by_name = [qualities[name] for name in sorted(qualities)]
    rises = sum(later > earlier for earlier, later in pairwise(by_name))
    assert 0.3 < rises / (len(by_name) - 1) < 0.7


def test_every_example_essay_has_80_to_130_words() -> None:
    lengths = {path.name: len(path.read_text().split()) for path in (ROOT / "examples" / "essays").glob("*.txt")}
    assert {name: words for name, words in lengths.items() if not 80 <= words <= 130} == {}


def test_what_the_package_needs_besides_its_modules_is_shipped_with_it() -> None:
    package = ROOT / "cj_stream"
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    shipped = {file for pattern in setup["package-data"]["cj_stream"] for file in package.glob(pattern)}
    needed = {file for file in tracked_files() if package in file.parents and file.suffix != ".py"}
    assert needed == shipped
