"""The model that ships is in the package, is what its card says, and is used by its name."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from carousel.generation.config import DEFAULT_SAMPLING, SamplingConfig
from carousel.models.checkpoint import load_model
from carousel.models.pretrained import ARTEFACTS, TELLER
from cli.commands import Call, caller
from conftest import ROOT
from generation.test_engine_runners import needs_bf16

CARD = (ARTEFACTS / f"{TELLER}.md").read_text("utf-8")
MOST = 8_000_000  # bytes
SHOWN = 3  # samples of the card that are written again here


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


def test_it_is_whole_and_small() -> None:
    load_model(ARTEFACTS / TELLER)
    assert sum(path.stat().st_size for path in (ARTEFACTS / TELLER).iterdir()) <= MOST


def test_its_card_is_about_these_weights() -> None:
    weights = (ARTEFACTS / TELLER / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in CARD


def test_its_card_shows_what_it_writes(call: Call) -> None:
    shown = re.findall(r"^\d+\n\n```text\n(.*?)\n```$", CARD, re.MULTILINE | re.DOTALL)
    assert len(shown) == 20
    result = call("sample", TELLER, "--num-samples", str(SHOWN), "--precision", "float32")
    texts = re.split(r"=== sample \d of \d ===\n", result.out)[1:]
    assert [text.split() for text in texts] == [text.split() for text in shown[:SHOWN]]


@needs_bf16
def test_the_readme_shows_what_it_writes(call: Call) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    before = r"^`carousel sample story --prompt \"Once upon a time\"` begins, on .* bf16:\n\n"
    (shown,) = re.findall(before + r"```text\n(.*?)\n```$", readme, re.M | re.S)
    result = call("sample", TELLER, "--prompt", "Once upon a time")
    assert " ".join(result.out.split()).startswith(" ".join(shown.split()))


def test_it_was_trained_as_the_command_that_rebuilds_it_says() -> None:
    config = json.loads((ARTEFACTS / TELLER / "config.json").read_bytes())
    asked = tomllib.loads((ROOT / "experiments/story/story.toml").read_text())
    for table, settings in asked.items():
        assert settings.items() <= config["settings"][table].items()
    assert config["step"] == asked["training"]["steps"]
    assert "/" not in json.dumps(config), "a path of the machine that trained"


def test_the_default_draws_are_those_that_were_read_best_of_those_that_do_not_repeat() -> None:
    results = ROOT / "experiments/story/results"
    counted = json.loads((results / "decoding.json").read_bytes())
    read = json.loads((results / "reading.json").read_bytes())["rows"]
    weights = (ARTEFACTS / TELLER / "model.safetensors").read_bytes()
    assert counted["weights"] == hashlib.sha256(weights).hexdigest()
    assert len(counted["rows"]) >= 60
    repetition = {str(row["settings"]): row["repetition"] for row in counted["rows"]}
    fitting = [
        row
        for row in read
        if row["settings"] and repetition[str(row["settings"])] <= counted["books"]["repetition"]
    ]
    assert len(fitting) >= 4
    best = max(fitting, key=lambda row: 2 * row["clear"] + row["slips"])
    assert SamplingConfig(**best["settings"]) == DEFAULT_SAMPLING


@pytest.mark.timeout(600)
def test_an_installed_wheel_has_it(tmp_path: Path) -> None:
    """In an environment that has no more of this project than the wheel."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    wheel = ("wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source))
    subprocess.run([*pip, *wheel], check=True)
    (built,) = tmp_path.glob("*.whl")
    shutil.rmtree(source)

    venv.create(tmp_path / "empty", with_pip=False, symlinks=True)
    python = tmp_path / "empty/bin/python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(built)], check=True)
    (packages,) = (tmp_path / "empty/lib").glob("*/site-packages")
    # What it depends on is borrowed; files such as the checkout's own .pth do not count there.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    where = "import carousel; print(carousel.__file__)"
    ran = [[str(python), "-c", where], [str(python.parent / "carousel"), "sample", TELLER]]
    place, story = (
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for command in ran
    )
    assert Path(place.strip()).is_relative_to(packages)
    assert len(story) > 400
