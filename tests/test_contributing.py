"""The checklists of CONTRIBUTING.md name files that exist, and tests that find what is missing."""

import re

import pytest

from conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LISTS = ["Add a family", "Add an op", "Add a kernel", "Add a chapter"]
# What a placeholder stands for in one finished example of each list.
EXAMPLES = {
    "Add a family": {"NAME": "mingru"},
    "Add an op": {"NAME": "attention", "CHAPTER": "attention"},
    "Add a kernel": {"NAME": "linear"},
    "Add a chapter": {"CHAPTER": "rnn", "NN": "01"},
}


def section(title: str) -> str:
    """Return the text under a heading."""
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("title", LISTS)
def test_a_checklist_is_true_of_its_example(title: str) -> None:
    steps = re.findall(r"^\d\. ", section(title), re.MULTILINE)
    assert len(steps) >= 4
    paths = re.findall(r"`((?:src|tests|math|notes|benchmarks|docs)/[\w/.]+)`", section(title))
    assert len(paths) >= 4
    for path in paths:
        for placeholder, example in EXAMPLES[title].items():
            path = re.sub(rf"\b{placeholder}(?=[._/])|(?<=_){placeholder}\b", example, path)
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("title", LISTS)
def test_every_checklist_names_a_test_that_says_what_is_missing(title: str) -> None:
    assert re.search(r"`tests/[\w/]+/test_\w+\.py`", section(title))
