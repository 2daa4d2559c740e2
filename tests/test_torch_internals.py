"""A torch that is too old, or lacks a name, ends in one line that says which torch works."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import carousel
from carousel import torch_internals
from carousel.kernels import build, fused
from carousel.kernels.instruction_set import multiplies_bf16
from carousel.torch_internals import (
    NEWEST_TESTED,
    OLDEST,
    TorchVersionError,
    require_supported,
    untested_note,
)
from carousel.verify.finite_field import field, plain
from conftest import ROOT
from test_from_scratch import dotted_names

WOULD_DO = r'torch 2\.11 to 2\.15 have it: pip install "torch>=2\.11,<2\.16"$'


@pytest.mark.parametrize("version", ["2.11.0", "2.11.0a0+git1", "2.13.0+cpu", "2.15.1", "3.0"])
def test_supported_versions_pass(version: str) -> None:
    require_supported(version)


@pytest.mark.parametrize("version", ["2.9.1", "2.10.0+cu128", "1.13"])
def test_an_older_torch_is_refused(version: str) -> None:
    number = re.escape(version.partition("+")[0])
    wanted = rf"carousel needs torch 2\.11 or newer, this is {number}; pip install -U torch$"
    with pytest.raises(TorchVersionError, match=wanted):
        require_supported(version)


OLD = "import torch; torch.__version__ = '2.9.1+cpu'; "
LINE = "carousel needs torch 2.11 or newer, this is 2.9.1; pip install -U torch"


@pytest.mark.parametrize("name", ["LSTM", "MultiheadAttention", "load_model", "backend"])
def test_an_older_torch_is_refused_on_import(name: str) -> None:
    code = f"{OLD}import carousel; print(carousel.__version__)\nfrom carousel import {name}"
    run = python(code)
    assert run.stdout == f"{carousel.__version__}\n"  # the package itself needs no torch
    assert run.stderr.splitlines()[-1] == f"carousel.torch_internals.TorchVersionError: {LINE}"


def test_the_command_line_refuses_an_older_torch_in_one_line() -> None:
    run = python(f"{OLD}from carousel.cli.main import main; main(['kernels', 'status'])")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"carousel kernels: {LINE}\n"


def test_the_package_alone_imports_no_torch() -> None:
    run = python("import sys, carousel; print('torch' in sys.modules)")
    assert run.stdout == "False\n"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_missing_name_is_named_where_a_layer_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = carousel.LSTM(2, 3)
    monkeypatch.delattr(torch._C, "_are_functorch_transforms_active")
    wanted = r"uses torch\._C\._are_functorch_transforms_active, which torch \S+ does not have; "
    with pytest.raises(TorchVersionError, match=wanted + WOULD_DO):
        layer(torch.randn(4, 2))


def test_a_missing_name_is_named_where_the_field_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    x = field(torch.ones(2, dtype=torch.int64))
    monkeypatch.delattr(torch._C, "DisableTorchFunctionSubclass")
    wanted = r"uses torch\._C\.DisableTorchFunctionSubclass, which torch \S+ does not have; "
    with pytest.raises(TorchVersionError, match=wanted + WOULD_DO):
        plain(x)


def test_a_missing_list_of_features_leaves_the_layers_without_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    monkeypatch.setenv("CAROUSEL_KERNELS", "auto")
    fused._load.cache_clear()
    try:
        reason = fused.unavailable_reason(torch.float32)
        assert reason is not None
        assert re.search(r"uses torch\.cpu\.get_capabilities, which .*; " + WOULD_DO, reason)
        assert not multiplies_bf16()
        assert carousel.LSTM(2, 3)(torch.randn(4, 5, 2))[0].shape == (4, 5, 3)
    finally:
        fused._load.cache_clear()


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(torch, "__version__", "2.99.0+cpu")
    return "; this is torch 2.99.0, tested are 2.11 to 2.15"


def test_a_compiler_error_names_a_torch_that_is_newer_than_tested(
    newer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = tmp_path / "cpu"
    header.mkdir()
    (header / "gone.cpp").write_text("#include <ATen/no_such_header.h>\n")
    monkeypatch.setattr(build, "_SOURCES", header)
    monkeypatch.setenv("CAROUSEL_KERNEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CAROUSEL_KERNELS", "auto")
    fused._load.cache_clear()
    try:
        reason = fused.unavailable_reason(torch.float32)
        assert reason is not None
        assert "ATen/no_such_header.h" in reason
        assert reason.endswith(newer)
        y, _ = carousel.LSTM(2, 3)(torch.randn(4, 5, 2))  # the layers run without
        assert y.shape == (4, 5, 3)
    finally:
        fused._load.cache_clear()


def test_a_symbol_that_torch_lacks_names_a_torch_that_is_newer_than_tested(
    newer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_library(path: object) -> None:
        raise OSError("kernels.so: undefined symbol: brgemm")

    monkeypatch.setattr(torch.ops, "load_library", load_library)
    monkeypatch.setattr(build, "library", lambda: Path("kernels.so"))
    fused._load.cache_clear()
    try:
        assert fused._load() == f"kernels.so: undefined symbol: brgemm{newer}"
    finally:
        fused._load.cache_clear()


def test_a_tested_torch_is_not_mentioned() -> None:
    assert untested_note(f"{NEWEST_TESTED}.3+cu130") == ""
    assert untested_note("2.16.0a0") == "; this is torch 2.16.0a0, tested are 2.11 to 2.15"


def undocumented(path: Path) -> set[str]:
    """The names below torch that begin with an underscore, by whatever name torch is imported."""
    names = dotted_names(ast.parse(path.read_text("utf-8")))
    return {n for n in names if re.fullmatch(r"(torch|functorch)(\.\w+)*\._(?!_)\w+(\.\w+)*", n)}


def test_undocumented_names_are_used_in_one_module_alone() -> None:
    here = Path(torch_internals.__file__)
    assert undocumented(here) >= {
        "torch._C._are_functorch_transforms_active",
        "torch._C.DisableTorchFunctionSubclass",
    }
    paths = [path for path in (ROOT / "src").rglob("*.py") if path != here]
    found = {str(path): undocumented(path) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_declared_range_is_the_one_in_the_messages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"torch>={OLDEST}" in project["dependencies"]  # and no upper bound
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    (pinned,) = (line.removeprefix("torch==") for line in lines if line.startswith("torch=="))
    major, minor = map(int, pinned.split(".")[:2])
    assert (2, int(OLDEST[2:])) <= (major, minor) <= (2, int(NEWEST_TESTED[2:]))
    pages = [(ROOT / name).read_text("utf-8") for name in ("README.md", "docs/install.md")]
    assert all(f"torch {OLDEST} or newer" in page for page in pages)
    pythons = [c.rpartition(" ")[2] for c in project["classifiers"] if "Python ::" in c]
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    assert all(f"Python {pythons[0]} to {pythons[-1]}" in page for page in pages)
    assert project["requires-python"] == f">={pythons[0]}"
