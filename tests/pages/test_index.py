"""The map of math/ is complete: what its tables say is what pages, ops and tests say."""

import re
import runpy

from conftest import ROOT
from pages.equations import PAGES, defined

INDEX = runpy.run_path(str(ROOT / "math/index.py"))
README = (ROOT / "math/README.md").read_text("utf-8")


def test_the_tables_are_those_that_the_files_make() -> None:
    for mark in ("computed", "derived"):
        (table,) = re.findall(rf"<!-- {mark} -->\n(.*?)<!-- end of {mark} -->", README, re.DOTALL)
        assert table == INDEX[mark](), "python math/index.py writes it again"


def test_every_equation_of_the_tables_is_computed_and_tested() -> None:
    equations = list(INDEX["equations"]())
    assert len(equations) >= 80
    assert [equation for equation in equations if not (equation.code and equation.tests)] == []


def test_every_equation_is_in_one_of_the_tables() -> None:
    computed = {equation.label for equation in INDEX["equations"]()}
    derived = set(re.findall(r"^\| \((\S+)\) \|", INDEX["derived"](), re.MULTILINE))
    assert {label for page in PAGES for label in defined(page)} == computed | derived


def test_every_page_is_on_the_map() -> None:
    linked = set(re.findall(r"\]\(([^)#]+\.md)\)", README))
    pages = {p.relative_to(ROOT / "math").as_posix() for p in (ROOT / "math").rglob("*.md")}
    assert pages - {"README.md"} - linked == set()
