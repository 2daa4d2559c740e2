"""Nothing of the current folder or the environment configures the figures."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

DRAW = """
import os
from carousel.inspection.curves import loss_curve
from pathlib import Path
loss_curve([{"step": k, "loss": 1 / k} for k in (1, 2, 3)], Path("loss"), floor=0.1)
assert os.path.samefile(".", PLACE)
assert os.environ.get("MATPLOTLIBRC") == NAMED, os.environ.get("MATPLOTLIBRC")
"""
PLANTED = {
    "a hook": "figure.hooks: builtins:input\n",
    "a hook that writes": "figure.hooks: planted:write\n",
    "code": "axes.prop_cycle: cycler('color', [__import__('os').mkdir('ran') or 'k'])\n",
    "nonsense": "no.such.setting: 1\nwithout a colon\n",
    "not UTF-8": "figure.dpi: \udcff\n",
    "a look": "figure.facecolor: red\nlines.linewidth: 9\nfont.size: 40\nsvg.fonttype: none\n",
    "a backend": "backend: planted\n",
}


def draw(cwd: Path, **changes: str) -> tuple[bytes, bytes]:
    """Draw a loss curve in a process of its own that must print nothing; return both files."""
    names = {"MATPLOTLIBRC", "MPLBACKEND"}
    environment = {k: v for k, v in os.environ.items() if k not in names} | changes
    code = DRAW.replace("PLACE", repr(str(cwd)))
    code = code.replace("NAMED", repr(changes.get("MATPLOTLIBRC")))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return (cwd / "loss.png").read_bytes(), (cwd / "loss.svg").read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    return draw(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("content", PLANTED.values(), ids=PLANTED)
def test_a_file_in_the_current_folder_changes_nothing(
    tmp_path: Path, expected: tuple[bytes, bytes], content: str
) -> None:
    (tmp_path / "matplotlibrc").write_bytes(content.encode("utf-8", "surrogateescape"))
    (tmp_path / "planted.py").write_text("def write(figure): open('ran', 'w').close()\n")
    assert draw(tmp_path) == expected
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("is_in_home", [False, True])
def test_files_and_names_of_the_environment_change_nothing(
    tmp_path: Path, expected: tuple[bytes, bytes], is_in_home: bool
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "matplotlibrc").write_text("font.size: 40\nno.such.setting: 1\n")
    name = "MPLCONFIGDIR" if is_in_home else "MATPLOTLIBRC"
    assert draw(tmp_path, MPLBACKEND="nonsense", **{name: str(folder)}) == expected


def test_what_a_program_has_set_changes_nothing(
    tmp_path: Path, expected: tuple[bytes, bytes]
) -> None:
    import matplotlib

    from carousel.inspection.curves import loss_curve

    with matplotlib.rc_context({"font.size": 40, "axes.labelsize": 30, "xtick.direction": "in"}):
        loss_curve([{"step": k, "loss": 1 / k} for k in (1, 2, 3)], tmp_path / "loss", floor=0.1)
        assert matplotlib.rcParams["font.size"] == 40
    assert (tmp_path / "loss.svg").read_bytes() == expected[1]


def test_matplotlib_is_imported_in_one_place() -> None:
    """An import in another module might come first, and read what lies in the current folder."""
    imports = {
        path.name
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "matplotlib"
        in {each.name.partition(".")[0] for each in node.names}
        | {(getattr(node, "module", None) or "").partition(".")[0]}
    }
    assert imports == {"figures.py"}
