"""The engine is a library: what it imports, where private parts are touched, and who makes clients of Kafka."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "cj_stream"
ENGINE = PACKAGE / "engine"
MODULES = sorted(ENGINE.rglob("*.py"))
CLIENTS = {"AIOKafkaAdminClient", "AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaClient"}


def imported(module: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever in it."""
    here = ["cj_stream", *module.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{origin}.{name.name}" for name in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_the_engine_imports_nothing_of_the_service(module: Path) -> None:
    ours = {name for name in imported(module) if name.split(".")[0] == "cj_stream"}
    assert {name for name in ours if not name.startswith("cj_stream.engine")} == set()


@pytest.mark.parametrize(
    "module", [*PACKAGE.rglob("*.py")], ids=lambda path: str(path.relative_to(PACKAGE)).replace("/", ".")
)
def test_private_parts_are_touched_in_one_folder_only(module: Path) -> None:
    if (ENGINE / "overrides") not in module.parents:
        assert "SLF001" not in module.read_text()


@pytest.mark.parametrize("module", [*PACKAGE.rglob("*.py")], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_client_of_kafka_is_made_in_one_place(module: Path) -> None:
    calls = (node.func for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call))
    made = {getattr(function, "attr", getattr(function, "id", "")) for function in calls} & CLIENTS
    assert made == (CLIENTS - {"AIOKafkaClient"} if module == ENGINE / "clients.py" else set())


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_the_engine_names_no_setting_of_an_app(module: Path) -> None:
    assert "CJ_" not in module.read_text()
