"""The house: every room imports from rooms below it only, no file is two files, and calls stay readable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the ground up. What stands in one row may import from each other, but not in a circle.
FLOORS = [
    {
        "errors",
        "limits",
        "defaults",
        "sites",
        "fields",
        "threefry",
        "workers",
        "programs",
        "replacing",
        "settings",
        "threads",
        "provenance",
    },
    {"following", "records"},
    {"intervene", "ancestry", "environment", "mechanism", "checking", "library", "simulate", "stepping", "episodes"},
    {"inference"},
    {"effects"},
    {"agents", "discovery"},
    {"allocators", "impact", "budgets"},
    {"claims"},
    {"runs", "repeating"},
    {"report", "certifying"},
    {"dashboard"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(path for path in (ROOT / "bayesalloc").rglob("*.py") if "template" not in path.parts)
CONTENT = sorted((ROOT / "models").rglob("*.py"))


def name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name(path): path for path in FILES}


def imports(path, *, running=True):
    """Modules of bayesalloc that a file imports; without those that are for a type checker only."""
    tree = ast.parse(path.read_text())
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bayesalloc"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES or inner.startswith("bayesalloc.models") else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("bayesalloc"))


def room(module):
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_a_floor():
    assert {room(module) for module in MODULES} - {""} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_arrow_points_upwards(path):
    here = room(name(path))
    for target in imports(path):
        assert not target.startswith("bayesalloc.models"), f"{name(path)} imports content: {target}"
        if here and room(target):
            assert FLOOR[room(target)] <= FLOOR[here], f"{name(path)} imports {target}, which stands above it"


def test_there_is_no_circle():
    graph = {module: set(imports(path)) & set(MODULES) for module, path in MODULES.items() if module != "bayesalloc"}
    for targets in graph.values():
        targets.discard("bayesalloc")
    while graph:
        free = [module for module, targets in graph.items() if not targets & set(graph)]
        assert free, f"these import each other in a circle: {sorted(graph)}"
        for module in free:
            del graph[module]


@pytest.mark.parametrize("path", [*FILES, *CONTENT], ids=name)
def test_a_file_is_one_file(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert "fmt: skip" not in text and "fmt: off" not in text
