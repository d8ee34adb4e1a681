"""docs/architecture.md is true: imports run down its layers, in no circle; and references to documentation resolve."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import layers

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "stochastic_collapse"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

LAYERS = {
    room: int(layer)
    for layer, rooms in re.findall(r"^\| (\d+) \| (.+?) \|", PAGE, re.MULTILINE)
    for room in re.findall(r"`(\w+)`", rooms)
}


def modules() -> dict[str, Path]:
    """Dotted name below the package → file; `figures` lies beside it."""
    found = {}
    for base, prefix in ((PACKAGE, ()), (ROOT / "figures", ("figures",))):
        for path in base.rglob("*.py"):
            parts = (*prefix, *path.relative_to(base).with_suffix("").parts)
            if parts[-1:] == ("__init__",):
                parts = parts[:-1]
            if parts:
                found[".".join(parts)] = path
    return found


MODULES = modules()


def imported(name: str, path: Path) -> set[str]:
    """The modules of ours that a module imports, in functions too, but not for types alone."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]

    def within(nodes: Iterable[ast.AST]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, ast.ImportFrom):
                base = (node.module or "").split(".") if node.module else []
                if node.level:
                    base = [*package[: len(package) - node.level + 1], *base]
                elif base[:1] == ["stochastic_collapse"]:
                    base = base[1:]
                else:
                    continue
                for alias in node.names:
                    inside = ".".join([*base, alias.name])
                    yield inside if inside in MODULES else ".".join(base)
            else:
                yield from within(ast.iter_child_nodes(node))

    return {one for one in within(ast.parse(path.read_text(encoding="utf-8")).body) if one in MODULES and one != name}


GRAPH = {name: imported(name, path) for name, path in MODULES.items()}

SCRIPTS = {"__main__", "figures.regenerate"}
"""What is run and never imported."""


def room(module: str) -> str:
    return module.partition(".")[0]


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upwards(graph: Mapping[str, set[str]], layers: Mapping[str, int]) -> list[str]:
    """Imports from a room to one that is not below it."""
    return [
        f"{module} (layer {layers[room(module)]}) imports {other} (layer {layers[room(other)]})"
        for module, others in graph.items()
        for other in others
        if room(module) != room(other) and layers[room(module)] <= layers[room(other)]
    ]


def test_every_room_has_a_layer() -> None:
    assert {room(module) for module in MODULES} - SCRIPTS == set(LAYERS)


def test_imports_run_downwards() -> None:
    graph = {module: others for module, others in GRAPH.items() if module not in SCRIPTS}
    assert sum(map(len, graph.values())) > 200
    assert upwards(graph, LAYERS) == []


def test_no_imports_in_a_circle() -> None:
    assert circle(GRAPH) == []


def test_what_is_wrong_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert upwards({"cli": {"config"}, "config.x": {"runs"}}, LAYERS) == ["config.x (layer 1) imports runs (layer 2)"]


# --- references from code to the documentation ---

REFERENCE = re.compile(r"\bdocs/([\w/-]+\.md)(?:#([\w-]+))?")
PLACES = ("python", "julia", "figures", "configs", "benchmarks", "tools", "tests", "Makefile", "pyproject.toml")
SUFFIXES = {".py", ".jl", ".yaml", ".toml", ".sh", ""}


def sources() -> Iterator[Path]:
    for place in PLACES:
        path = ROOT / place
        yield from [path] if path.is_file() else (p for p in path.rglob("*") if p.is_file() and p.suffix in SUFFIXES)


def anchors(page: Path) -> set[str]:
    """Those named with { #name }, and those that headings get."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*?)(?: \{ #[\w-]+ \})?$", text, re.MULTILINE)
    return set(re.findall(r"\{ #([\w-]+) \}", text)) | {
        re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings
    }


@pytest.mark.parametrize("path", [p for p in sources() if "__pycache__" not in p.parts], ids=lambda p: str(p.name))
def test_references_to_the_documentation_resolve(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    assert "DESIGN " + "§" not in text
    for page, anchor in REFERENCE.findall(text):
        target = ROOT / "docs" / page
        assert target.is_file(), f"{path}: no page docs/{page}"
        assert not anchor or anchor in anchors(target), f"{path}: no heading #{anchor} in docs/{page}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_is_about_one_thing(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_picture_is_that_of_the_table() -> None:
    assert (ROOT / "docs" / "layers.svg").read_text(encoding="utf-8") == layers.picture()
