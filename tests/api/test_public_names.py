"""The names of `carousel`: quick to import, documented by examples that run; deprecated ones."""

import doctest
import importlib
import inspect
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest

import carousel
from carousel import api, forecast_api, text_model
from carousel.errors import UnreadableError, name_arguments, python_words
from carousel.training import keyword_settings, run_events
from conftest import ROOT
from pages.equations import blocks

DOCUMENTED = [api, forecast_api, text_model, keyword_settings, run_events]


@pytest.mark.parametrize("module", DOCUMENTED, ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_run(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
    assert list(tmp_path.iterdir()) == [], "an example left something in the working folder"


PUBLIC = [
    carousel.train,
    carousel.load,
    carousel.forecast,
    carousel.training.run,
    carousel.training.make_config,
    carousel.TextModel.generate,
    carousel.TextModel.stream,
    carousel.TextModel.loss,
    carousel.TextModel.score,
    carousel.TextModel.save,
    carousel.TextModel.to_torch,
]


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__qualname__)
def test_every_public_function_says_all(function: object) -> None:
    documentation = inspect.getdoc(function)
    assert documentation is not None
    assert ("Returns:" in documentation) != ("Yields:" in documentation)
    assert "Raises:" in documentation
    assert ">>> " in documentation
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    for name in parameters.keys() - {"self"}:
        assert f"\n    {name}: " in documentation, name


def test_importing_carousel_imports_no_torch() -> None:
    code = (
        "import sys, carousel\n"
        "carousel.RunConfig, carousel.TrainingConfig, carousel.training.make_config(steps=3)\n"
        "assert not {'torch', 'matplotlib', 'rich'} & sys.modules.keys()\n"
        "carousel.load\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_exported_name_is_there_and_has_types() -> None:
    for name in carousel.__all__:
        assert getattr(carousel, name) is not None
    assert sorted(carousel.__all__) == dir(carousel)
    assert (ROOT / "src/carousel/py.typed").is_file()
    for name in carousel.training.__all__:
        assert getattr(carousel.training, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = carousel.trian


@pytest.mark.parametrize(
    ("name", "home", "successor"),
    [
        ("load_model", "carousel.models.checkpoint", "carousel.load"),
        ("continue_text", "carousel.generation.generate", "TextModel.generate"),
    ],
)
def test_a_name_of_before_works_and_names_the_new_one(name: str, home: str, successor: str) -> None:
    with pytest.warns(
        DeprecationWarning, match=f"carousel.{name} is deprecated .*{successor}"
    ) as w:
        function = getattr(carousel, name)
    assert Path(w[0].filename) == Path(__file__)
    assert function is getattr(importlib.import_module(home), name)


def test_a_name_of_before_can_be_imported() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        exec("from carousel import load_model", {})
    assert {str(each.message)[:30] for each in seen} == {"carousel.load_model is depreca"}


def test_flags_in_errors_are_arguments_in_python() -> None:
    message = "go on with --init-from runs/a--b and --x; ./--out and a-- stay, so does -- too"
    assert name_arguments(message) == (
        "go on with init_from runs/a--b and x; ./--out and a-- stay, so does -- too"
    )
    with pytest.raises(UnreadableError, match=r"^give encoding$"), python_words():
        raise UnreadableError("give --encoding")


def test_the_blocks_of_the_page_on_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    tale = "There was once a {} who lived by the sea.\nNobody knew her name.\n\n"
    words = [f"{a} {b}" for a in ("old", "young", "sad") for b in ("king", "queen", "frog", "owl")]
    Path("my.txt").write_text("".join(map(tale.format, words * 9)), encoding="utf-8")
    page = ROOT / "docs/python.md"
    assert len(page.read_text("utf-8").splitlines()) <= 100
    namespace: dict[str, object] = {}
    found = blocks(page)
    assert len(found) >= 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", carousel.CarouselWarning)  # stories that are alike
        for block in found:
            exec(compile("\n" * block.line + block.source, str(page), "exec"), namespace)
