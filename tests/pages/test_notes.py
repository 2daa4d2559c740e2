"""From each note one click leads to its mathematics, code and tests; its claims have names."""

import re
from pathlib import Path

import pytest

from conftest import ROOT

NOTES = sorted((ROOT / "notes").glob("*.md"))
CLAIM = re.compile(r"^ *[-*] `([a-z0-9]+(?:-[A-Za-z0-9]+)+)`", re.MULTILINE)


def where_to_go(note: Path) -> str:
    (section,) = re.findall(
        r"^## Where to go$\n(.*?)(?=^## |\Z)", note.read_text("utf-8"), re.M | re.S
    )
    return str(section)


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.name)
def test_a_note_leads_to_its_mathematics_code_tests_and_claims(note: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", where_to_go(note))
    for folder in ("../math/", "../src/carousel/", "../tests/"):
        assert any(link.startswith(folder) for link in links), folder
    assert CLAIM.findall(where_to_go(note))


def test_no_claim_has_two_meanings() -> None:
    claims = [claim for note in NOTES for claim in CLAIM.findall(where_to_go(note))]
    assert len(claims) >= 40
    assert sorted({claim for claim in claims if claims.count(claim) > 1}) == []
