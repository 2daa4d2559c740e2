"""What the commands say of their options."""

import re

import pytest

from carousel.cli.main import COMMANDS, run
from carousel.models.config import CONFIGS, ModelConfig, setting_names
from carousel.models.families import FAMILIES


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        run(list(arguments))
    out, err = capsys.readouterr()
    assert err == ""
    return out


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE))


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_short_help_fits_and_has_the_settings_of_its_family(
    family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(capsys, "train", "--model", family, "--help")
    assert text.count("\n") <= (65 if family == "lstm" else 60)
    assert max(map(len, text.splitlines())) <= 80
    assert "None" not in text
    assert f"carousel train novel.txt --model {family} " in text
    own = set(setting_names(CONFIGS[family])) - set(setting_names(ModelConfig))
    foreign = {name for config in CONFIGS.values() for name in setting_names(config)} - own
    foreign -= set(setting_names(ModelConfig))
    shown = {
        flag.removeprefix("--").removeprefix("no-").replace("-", "_") for flag in flags_in(text)
    }
    assert own <= shown
    assert not foreign & shown
    assert len(shown - own) == 20


def test_the_long_help_has_every_setting_once(capsys: pytest.CaptureFixture[str]) -> None:
    short = help_of(capsys, "train", "--help")
    text = help_of(capsys, "train", "--help-all")
    assert flags_in(short) < flags_in(text)
    flags = re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE)
    assert len(flags) == len(set(flags)) == 51
    assert "(default: None)" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_every_option(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(capsys, command, "--help")
    for line in re.findall(r"^  (?:--|\[|[A-Z]).*(?:\n {26}.*)?", text, re.MULTILINE):
        assert re.search(r" {2,}\S|\n {26}\S", line[2:]), line
    assert "default: None" not in text
