"""Every block of math/ and notes/ runs, checks the equations of its page, sees flipped signs."""

from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from pages.equations import PAGES, blocks, checked, defined, flipped

EXECUTED = [page for page in PAGES if blocks(page)]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", EXECUTED, ids=named)
def test_the_blocks_run_and_see_every_flipped_sign(page: Path) -> None:
    """Blocks share one namespace, in order; one with a sign flipped must fail where it stands."""
    namespace: dict[str, Any] = {"__name__": "page"}
    unseen = []
    for block in blocks(page):
        before = dict(namespace)
        run(block.source, namespace, page, block.line)
        for equation in checked(block):
            for changed in flipped(block, equation.statement):
                try:
                    exec(compile(changed, f"{named(page)} with a sign flipped", "exec"), {**before})
                except AssertionError:
                    continue
                line = block.line + equation.statement.lineno
                unseen.append(f"{named(page)}:{line} {', '.join(equation.labels)}:\n{changed}")
    assert not unseen, "no assertion fails if a sign is flipped in\n" + "\n".join(unseen)


def run(source: str, namespace: dict[str, Any], page: Path, line: int) -> None:
    """Run a block; a traceback has the page's own line numbers."""
    exec(compile("\n" * line + source, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", [p for p in PAGES if defined(p)], ids=named)
def test_every_equation_of_a_page_is_checked_on_that_page(page: Path) -> None:
    found = {label for b in blocks(page) for equation in checked(b) for label in equation.labels}
    assert sorted(set(defined(page)) - found) == []


def test_no_label_is_defined_twice() -> None:
    every = [label for page in PAGES for label in defined(page)]
    assert sorted({label for label in every if every.count(label) > 1}) == []
