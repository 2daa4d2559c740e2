"""Write the tables of math/README.md: where an equation is computed, tested, derived.

python math/index.py
"""

import ast
import os
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent
CODE = [
    *sorted(ROOT.glob("src/carousel/ops/*.py")),
    ROOT / "src/carousel/generation/sentence_best_of.py",
    ROOT / "src/carousel/training/optimizers.py",
]
LABEL = re.compile(r"\(([a-z][a-z0-9]*\.\d+)\)")
ROW = re.compile(r"^\| \(([a-z][a-z0-9]*\.\d+)\) \|", re.MULTILINE)
DERIVED = re.compile(r"^\*\*\(([a-z][a-z0-9]*\.\d+)\)\*\* *(.+)$", re.MULTILINE)


class Equation(NamedTuple):
    """An equation that is computed: its label, its page, the code that cites it, the tests."""

    label: str
    page: str
    code: str
    tests: str


def main() -> None:
    """Put both tables between their marks."""
    readme = HERE / "README.md"
    text = readme.read_text("utf-8")
    for mark, table in (("computed", computed()), ("derived", derived())):
        before, rest = text.split(f"<!-- {mark} -->\n")
        after = rest.split(f"<!-- end of {mark} -->")[1]
        text = f"{before}<!-- {mark} -->\n{table}<!-- end of {mark} -->{after}"
    readme.write_text(text, "utf-8")


def computed() -> str:
    """Return the table equation → op → test; neighbours that agree share a row."""
    head = "| equation | page | code | tests |\n|---|---|---|---|\n"
    rows = []
    for (page, code, tests), group in groupby(equations(), key=lambda e: e[1:]):
        labels = [equation.label for equation in group]
        shown = f"({labels[0]})" + (f" to ({labels[-1]})" if len(labels) > 1 else "")
        rows.append(f"| {shown} | {page} | {code} | {tests} |\n")
    return head + "".join(rows)


def derived() -> str:
    """Return the table of what is proven and computed nowhere but in the block that checks it."""
    head = "| equation | in words | page |\n|---|---|---|\n"
    rows = [
        f"| ({label}) | {words.strip().rstrip(':')} | {_link(page)} |\n"
        for page in [*_pages(), *sorted((ROOT / "notes").glob("*.md"))]
        for label, words in DERIVED.findall(page.read_text("utf-8"))
    ]
    return head + "".join(rows)


def equations() -> Iterator[Equation]:
    """Yield the equations of all tables, in the order of their pages."""
    places = {path: _citations(path) for path in CODE}
    for page in _pages():
        text = page.read_text("utf-8")
        links = re.findall(r"\]\(([^)]*/tests/[^)]*\.py)\)", text)
        of_page = [(page.parent / link).resolve() for link in dict.fromkeys(links)]
        for label in ROW.findall(text):
            citing = {path: cited[label] for path, cited in places.items() if label in cited}
            code = ", ".join(
                " ".join([f"[`{path.stem}`]({_relative(path)})", *(f"`{name}`" for name in names)])
                for path, names in citing.items()
            )
            # The tests that are called after what computes it, where there are such.
            stems = {f"test_{path.stem}" for path in citing}
            own = [test for test in of_page if test.stem in stems] or of_page
            tests = ", ".join(f"[`{test.stem}`]({_relative(test)})" for test in own)
            yield Equation(label, _link(page), code, tests)


def _pages() -> list[Path]:
    return sorted(path for path in HERE.rglob("*.md") if path.name != "README.md")


def _citations(path: Path) -> dict[str, tuple[str, ...]]:
    """Return which functions and classes of a module cite each label; none: outside of all."""
    source = path.read_text("utf-8")
    spans = [
        (node.lineno, node.end_lineno or node.lineno, node.name)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(source.splitlines(), 1):
        for label in LABEL.findall(line):
            names = [name for first, last, name in spans if first <= number <= last]
            found.setdefault(label, {}).update(dict.fromkeys(names))
    return {label: tuple(names) for label, names in found.items()}


def _link(page: Path) -> str:
    path = Path(_relative(page))
    return f"[{path.with_suffix('').as_posix().removeprefix('../')}]({path.as_posix()})"


def _relative(path: Path) -> str:
    return Path(os.path.relpath(path, HERE)).as_posix()


if __name__ == "__main__":
    main()
