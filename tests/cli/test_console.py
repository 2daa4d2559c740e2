"""What every command says the same way."""

import pytest
from rich.table import Table

from carousel.cli.console import console, duration, nats, print_table, rows


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (600, "10 min"),
        (5400, "1 h 30 min"),
        (86400, "24 h 00 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_loss_has_its_units() -> None:
    assert nats(0.6931471805599453) == "0.6931 nats (1.000 bits)"


def test_names_hold_no_emoji_and_no_markup(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`:cat:` and `[red]` may be the names of files."""
    rows({"text": r":cat: [red]a[/red] \[b] c\ "})
    console.print(":cat: [red]")
    assert capfd.readouterr().err == "text     :cat: [red]a[/red] \\[b] c\\\n:cat: [red]\n"


def test_a_table_is_cut_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_column("a name of words")
    table.add_column("figure", no_wrap=True)
    table.add_row("seasonal change (7)", "123.45 ± 0.12")
    print_table(table, 10)
    out = capfd.readouterr().out
    assert "123.45 ± 0.12" in out
    assert "…" not in out
    assert max(map(len, out.splitlines())) < 32, "names are folded"
