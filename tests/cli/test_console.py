"""What every command says the same way."""

import pytest

from carousel.cli.console import duration, nats, printable


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


def test_a_terminal_is_given_nothing_to_obey() -> None:
    assert printable("a\x1b[2Jb\tc\x07") == "a\ufffd[2Jb\tc\ufffd"
    assert printable("é, שלום, 字") == "é, שלום, 字"
