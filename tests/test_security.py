"""SECURITY.md lists every function that removes, overwrites or reads, and what bounds it."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import ROOT

PAGE = ROOT / "SECURITY.md"
PROMISED = "The threat model"
REMOVED, READ = "What Carousel removes or overwrites", "What Carousel reads"
REMOVES = {
    *("unlink", "rmdir", "rename", "rmtree", "ftruncate", "truncate", "removedirs", "remove_made"),
    *("remove_file", "remove_folder", "remove_empty", "remove_leftovers", "remove_written"),
    *("remove_samples", "remove_leftovers_of_a_run", "move_aside", "scratch_file", "_delete"),
    "_rename",
}
OVERWRITES = {
    *("write_text", "write_bytes", "write_durably", "publishing", "publish_folder", "touch"),
    *("savefig", "copyfile", "copytree", "move", "chmod"),
}
# Methods that read a file or a stream, and functions that do.
READS = {"read_bytes", "read_text", "readline", "readlines", "fromfile", "memmap"}
READERS = {
    *("open_regular", "read_regular", "read_input", "read_stream", "MappedArray", "FileIO"),
    *("copyfileobj", "file_digest", "load_library", "safe_open", "load_file", "mmap"),
}
LOADERS = {"json", "tomllib", "np", "numpy", "torch", "pickle", "csv"}  # whose load takes a file
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


def is_read(call: ast.Call) -> bool:
    """Tell whether a call reads from a file, a stream or a descriptor, or opens one to read."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    module = getattr(getattr(call.func, "value", None), "id", "")
    if name == "open":
        return not is_listed_kind(call) and "devnull" not in ast.dump(call)
    if name == "read":  # of a descriptor, or of a stream under this name
        return module in ("os", "stream")
    if name == "load":
        return module in LOADERS
    return name in READERS or (name in READS and isinstance(call.func, ast.Attribute))


def callers(path: Path, is_listed: Callable[[ast.Call], bool]) -> Iterator[str]:
    """Yield the functions of a file in which there is such a call, methods by their class."""

    def visit(node: ast.AST, names: tuple[str, ...]) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield from visit(child, (*names, child.name))
                continue
            if isinstance(child, ast.Call) and is_listed(child):
                yield ".".join(names)
            yield from visit(child, names)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), ())


def all_callers(is_listed: Callable[[ast.Call], bool], *folders: str) -> set[str]:
    return {
        f"{path.relative_to(ROOT).as_posix().removeprefix('src/carousel/')}: {name}"
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in callers(path, is_listed)
    }


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    _, _, below = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    lines = below.partition("\n## ")[0].splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|")
    ]
    return cells[2:]  # below the names of the columns, and a rule


def listed(heading: str) -> set[str]:
    return {name for row in rows(heading) for name in re.findall(r"`([^`]+: [^`]+)`", row[0])}


def test_every_call_that_removes_or_overwrites_is_listed() -> None:
    assert listed(REMOVED) == all_callers(
        is_listed_kind, "src/carousel", "experiments", "benchmarks"
    )


def test_every_call_that_reads_is_listed() -> None:
    assert listed(READ) == all_callers(is_read, "src/carousel")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("path.read_bytes()", True),
        ("path.open('rb')", True),
        ("open(path)", True),
        ("json.load(file)", True),
        ("json.loads(text)", False),
        ("read_text(files, reading)", False),  # a function of that name
        ("path.open('xb')", False),
        ("os.read(descriptor, 10)", True),
        ("stream.read(10)", True),
        ("read_regular(path, 10)", True),
    ],
)
def test_calls_that_read_are_told_apart(code: str, expected: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert is_read(call) == expected


@pytest.mark.parametrize("heading", [REMOVED, READ])
def test_every_row_has_a_proof_and_a_test_that_exists(heading: str) -> None:
    assert rows(heading)
    for calls, target, proof, tests in rows(heading):
        assert target, calls
        assert proof, calls
        check_tests(tests, calls)


def check_tests(cell: str, what: str) -> None:
    """Fail unless a cell names tests, and there are all of them."""
    found = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", cell)
    assert found, what
    for path, name in found:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in text, f"{what}: no {name} in {path}"


def test_every_promise_has_a_test_that_exists() -> None:
    assert len(rows(PROMISED)) > 20
    for who, promise, tests in rows(PROMISED):
        assert who
        check_tests(tests, promise)


def test_no_pickle_is_read() -> None:
    """Nothing in the package unpickles: checkpoints are JSON and safetensors."""
    unpickling = re.compile(r"\b(pickle|marshal|shelve|dill|joblib)\b|torch\.load\b|allow_pickle")
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom | ast.Call | ast.Attribute):
                assert not unpickling.search(ast.unparse(node)), f"{path}: {ast.unparse(node)}"
