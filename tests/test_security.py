"""SECURITY.md lists every function that removes, renames or overwrites, with its proof."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

PAGE = ROOT / "SECURITY.md"
REMOVES = {
    *("unlink", "rmdir", "rename", "rmtree", "ftruncate", "truncate", "removedirs", "remove_made"),
    *("remove_file", "remove_folder", "remove_empty", "remove_leftovers", "remove_written"),
    *("remove_samples", "remove_leftovers_of_a_run", "move_aside", "scratch_file", "_delete"),
    "_rename",
}
OVERWRITES = {
    *("write_text", "write_bytes", "write_durably", "publishing", "publish_folder", "touch"),
    *("savefig", "copyfile", "copytree", "move"),
}
WRITING = re.compile(r"[wax]|r?b?\+")


def is_listed_kind(call: ast.Call) -> bool:
    """Tell whether a call removes, renames, truncates, overwrites or opens to write."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    module = getattr(getattr(call.func, "value", None), "id", "")
    if name == "open" and module == "os":
        return "devnull" not in ast.dump(call)
    if name == "open":
        modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
        return any(isinstance(mode, str) and WRITING.match(mode) for mode in modes)
    if name == "replace":  # of a path or of os; that of a text or of a dataclass is none
        return module == "os"
    return name in REMOVES | OVERWRITES


def writers(path: Path) -> Iterator[str]:
    """Yield the functions of a file in which there is such a call, methods by their class."""

    def visit(node: ast.AST, names: tuple[str, ...]) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield from visit(child, (*names, child.name))
                continue
            if isinstance(child, ast.Call) and is_listed_kind(child):
                yield ".".join(names)
            yield from visit(child, names)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), ())


def all_writers() -> set[str]:
    return {
        f"{path.relative_to(ROOT).as_posix().removeprefix('src/carousel/')}: {name}"
        for folder in ("src/carousel", "experiments", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in writers(path)
    }


def rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in cells if row[0].startswith("`")]


def test_every_call_that_removes_or_overwrites_is_listed() -> None:
    listed = {name for row in rows() for name in re.findall(r"`([^`]+: [^`]+)`", row[0])}
    assert listed == all_writers()


def test_every_row_has_a_proof_and_a_test_that_exists() -> None:
    for calls, target, proof, tests in rows():
        assert target, calls
        assert proof, calls
        found = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", tests)
        assert found, calls
        for path, name in found:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert f"def {name}(" in text, f"{calls}: no {name} in {path}"
