"""Who may import whom, as far as import-linter's contracts do not say it."""

import ast
from pathlib import Path

import grimp
import pytest

from conftest import ROOT

Graph = dict[str, set[str]]


def circles(graph: Graph) -> list[list[str]]:
    """The sets of modules that import one another, directly or not (Tarjan 1972)."""
    found: list[list[str]] = []
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in graph[module]:
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in graph:
        if module not in number:
            visit(module)
    return found


def test_no_modules_import_one_another_not_even_in_functions_or_for_types() -> None:
    graph = grimp.build_graph("carousel", cache_dir=None)
    imports = {m: set(graph.find_modules_directly_imported_by(m)) for m in graph.modules}
    assert len(imports) > 250, "too little was found"
    del imports["carousel"]  # whose names are all lazy
    for others in imports.values():
        others.discard("carousel")
    assert circles(imports) == []


def test_circles_are_seen() -> None:
    line = {"a": {"b"}, "b": {"c"}, "c": set[str]()}
    assert circles(line) == []
    assert circles(line | {"c": {"a"}}) == [["a", "b", "c"]]
    assert circles(line | {"d": {"e"}, "e": {"d"}}) == [["d", "e"]]


@pytest.mark.parametrize("top", ["experiments", "benchmarks", "tools", "math", "notes", "docs"])
def test_scripts_use_the_library_not_the_command_line(top: str) -> None:
    paths = sorted((ROOT / top).rglob("*.py"))
    assert {path.name for path in paths if imports_cli(path)} == set()


def imports_cli(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        if any(f"{name}.".startswith("carousel.cli.") for name in names):
            return True
    return False


def test_imports_of_the_command_line_are_seen(tmp_path: Path) -> None:
    for line in (
        "from carousel import cli",
        "import carousel.cli.main",
        "from carousel.cli import x",
    ):
        (tmp_path / "script.py").write_text(line)
        assert imports_cli(tmp_path / "script.py")
