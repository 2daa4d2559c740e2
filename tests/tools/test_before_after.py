"""tools/before_after.py: it sees a difference, a slowdown and a failure, and cleans up."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import carousel
from carousel.cli.train import read_command
from conftest import ROOT
from tools import before_after, version_checks, version_process, version_worker
from tools.paired_ratio import Ratio, interleaved, lower_rank, paired_ratio
from tools.version_checks import CASES, Outcome
from tools.version_process import Failed, Version

SMALL = Path(__file__).with_name("small_version")


def git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "gc.auto=0")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a small Carousel, committed; one case and no times."""
    root, temporary = tmp_path / "repository", tmp_path / "temporary"
    shutil.copytree(SMALL, root / "src/carousel", ignore=shutil.ignore_patterns("__pycache__"))
    story = root / "src/carousel/artefacts/story/model.safetensors"
    story.parent.mkdir(parents=True)
    story.touch()
    git(tmp_path, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-qm", "before")
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(before_after, "CASES", CASES[:1])
    monkeypatch.setattr(before_after, "FAMILIES", ())
    monkeypatch.setattr(before_after, "_STORY_TIMES", {})
    return root


def plant(root: Path, fault: str) -> None:
    path = root / "src/carousel/__init__.py"
    path.write_text(path.read_text().replace('FAULT = ""', f'FAULT = "{fault}"'))


def is_clean(root: Path) -> bool:
    """Whether nothing is left: no worktree but the repository, no temporary folder."""
    worktrees = git(root, "worktree", "list", "--porcelain").count("worktree ")
    return worktrees == 1 and list((root.parent / "temporary").iterdir()) == []


OF_RUN = {"weights", "text", "candidates", "eval", "lanes"}
OLD_RUN = {f"old run: {check}" for check in OF_RUN}
SAMPLED = {"text", "candidates", "old run: text", "old run: candidates"}
EVALUATED = {"eval", "lanes", "old run: eval", "old run: lanes"}


@pytest.mark.parametrize(
    ("faults", "word", "of_rnn", "of_story"),
    [
        ("train", "different", OF_RUN | {"losses", "old run: resumed"}, set()),
        ("sample", "different", SAMPLED, SAMPLED),
        ("eval, serve", "different", EVALUATED, EVALUATED | {"served"}),
        ("load", "failed", OLD_RUN | {"old run: resumed"}, set()),
    ],
)
def test_a_planted_difference_is_seen_where_it_is(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    faults: str,
    word: str,
    of_rnn: set[str],
    of_story: set[str],
) -> None:
    plant(root, faults)
    assert before_after.main(["HEAD"], root) == 1
    out = capsys.readouterr().out
    lines = re.findall(r"^(different|failed): (rnn|story), (.+?): before .+, after .+$", out, re.M)
    expected = {(word, "rnn", check) for check in of_rnn}
    assert set(lines) == expected | {(word, "story", check) for check in of_story}
    assert f"{22 - len(lines)} of 22 results are the same" in out
    assert is_clean(root)


def test_the_same_version_is_the_same(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert before_after.main(["HEAD"], root) == 0
    captured = capsys.readouterr()
    assert "22 of 22 results are the same" in captured.out
    assert "[1/1] rnn" in captured.err  # progress
    assert is_clean(root)


def test_a_commit_that_does_not_start_fails(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "src/carousel/__init__.py").write_text("import no_such_module\n")
    assert before_after.main(["HEAD"], root) == 1
    assert "after: ModuleNotFoundError: No module named 'no_such_module'" in capsys.readouterr().err
    assert is_clean(root)


def test_interruption_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(root, "worktree", "add", "-q", "--detach", str(root.parent / "another"))

    def interrupted(*_: object) -> None:
        assert git(root, "worktree", "list").count("carousel-before-after-") == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(before_after, "compare_case", interrupted)
    assert before_after.main(["HEAD"], root) == 130
    assert list((root.parent / "temporary").iterdir()) == []
    lines = git(root, "worktree", "list").splitlines()
    assert [Path(line.split()[0]).name for line in lines] == ["repository", "another"]
    assert (root.parent / "another/src/carousel/__init__.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["no-such-commit"], "no commit 'no-such-commit' in this repository; a tag or HEAD~1"),
        (["--", "--quiet"], "no commit '--quiet' in this repository"),
        (["HEAD", "--only", "nobody"], "--only 'nobody': no case or time has it in its name"),
        ([], "the following arguments are required: commit"),
    ],
)
def test_mistakes_exit_with_2_in_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    with pytest.raises(SystemExit) as end:
        before_after.main(arguments, root)
    assert end.value.code == 2
    assert f"error: {line}" in capsys.readouterr().err.splitlines()[-1]


def test_it_runs_as_a_script() -> None:
    command = [sys.executable, str(ROOT / "tools/before_after.py"), "no-such-commit"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert "before_after.py: error: no commit 'no-such-commit'" in run.stderr


# Statistics.


@pytest.mark.parametrize(("count", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (30, 10), (100, 40)])
def test_ranks_are_those_of_the_tables(count: int, rank: int) -> None:
    """Tables of the sign test, such as Conover 1999, table A3."""
    assert lower_rank(count) == rank


def test_the_interval_holds_the_median_in_95_of_100_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand((4000, 30), generator=generator).sort(dim=1).values
    rank = lower_rank(30)
    held = (values[:, rank - 1] <= 0.5) & (values[:, -rank] >= 0.5)
    assert 0.945 < held.double().mean() < 0.97  # exactly 0.957; narrower ranks hold 0.90


def test_too_few_rounds_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 6 rounds, got 5"):
        lower_rank(5)


def test_ratios_are_paired_by_round() -> None:
    """Rounds of a busy machine are slow for both."""
    before = [1.0, 10.0, 2.0, 50.0, 1.0, 3.0, 4.0, 8.0, 1.0]
    ratio = paired_ratio(before, [1.1 * seconds for seconds in before])
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((1.1, 1.1, 1.1))
    assert ratio.is_slower
    assert (ratio.before, ratio.after) == pytest.approx((3.0, 3.3))


@pytest.mark.parametrize(("low", "is_slower"), [(1.04, False), (1.05, False), (1.06, True)])
def test_slower_means_that_the_whole_interval_is_above_5_percent(
    low: float, is_slower: bool
) -> None:
    ratio = Ratio(1.2, low, 1.3, 0.001, 0.0012)
    assert ratio.is_slower is is_slower
    assert before_after.exit_code([], {"step": ratio}, {}) == int(is_slower)
    lines = before_after.table_of_times({"step, rnn": ratio}, {}, 30)
    assert ("SLOWER" in lines[2]) is is_slower
    assert lines[4].startswith(f"{int(is_slower)} of 1 times are slower")


def test_versions_take_turns_a_b_b_a() -> None:
    calls: list[str] = []

    def task(name: str) -> Callable[[], float]:
        return lambda: float(len(calls)) if calls.append(name) is None else 0.0

    pairs = {"x": (task("xA"), task("xB")), "y": (task("yA"), task("yB"))}
    times = interleaved(pairs, 3)
    assert calls == ["xA", "xB", "yA", "yB", "xB", "xA", "yB", "yA", "xA", "xB", "yA", "yB"]
    assert times["x"] == ([1, 6, 9], [2, 5, 10])


def test_a_time_that_cannot_be_measured_fails() -> None:
    def refuse() -> float:
        raise Failed("train ended with exit code 1")

    ratios, failures = before_after._time(
        {"good": (lambda: 2.0, lambda: 4.0), "bad": (refuse,) * 2}, 6
    )
    assert failures == {"bad": "train ended with exit code 1"}
    assert ratios == {"good": Ratio(2.0, 2.0, 2.0, 2.0, 4.0)}
    assert before_after.exit_code([], {}, failures) == 1


# The plan.


def test_every_family_is_compared_and_timed_and_story() -> None:
    families = {case.name.partition(",")[0] for case in CASES}
    assert families == {"rnn", "gru", "lstm", "mlp", "transformer"}
    assert {case.kernels for case in CASES} == {"auto", "off"}
    assert len({case.folder for case in CASES}) == len(CASES)
    names = before_after._names_of_times("")
    assert {f"{kind}, {family}" for family in families for kind in ("step", "decoding")} <= set(
        names
    )
    assert sum("story" in name for name in names) == 2
    assert (before_after.ROUNDS, version_checks.STEPS, version_checks.CHARACTERS) == (30, 50, 2000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_settings_of_every_case_go_together(case: version_checks.Case) -> None:
    command = read_command(version_checks.train_flags(case, Path("text"), Path("out"))[1:])
    assert command.model.model == case.name.partition(",")[0]
    assert command.training.steps == 50


def test_two_failures_alike_are_not_the_same() -> None:
    outcome = Outcome("rnn", "text", "failed: exit code 1", "failed: exit code 1")
    assert outcome.word == "failed"
    assert before_after.exit_code([outcome], {}, {}) == 1


# The worker.


def test_weights_have_no_names_but_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    p, q = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(3, 2))

    def hashed(**parameters: nn.Parameter) -> str:
        module = nn.Module()
        for name, parameter in parameters.items():
            module.register_parameter(name, parameter)
        model = SimpleNamespace(module=module)
        monkeypatch.setattr(carousel, "load", lambda run: model, raising=False)
        return version_worker.weights("run")

    assert hashed(a=p, b=q) == hashed(z=p, y=q)
    assert hashed(a=p, b=q) != hashed(a=q, b=p)
    assert hashed(a=p) != hashed(a=nn.Parameter(p.detach().T))
    bits = p.detach().clone()
    bits.view(torch.int32)[0, 0] ^= 1
    assert hashed(a=p) != hashed(a=nn.Parameter(bits))


def test_a_worker_that_dies_fails_and_the_next_command_runs(root: Path) -> None:
    version = Version("here", root / "src", root.parent / "here")
    try:
        (root / "src/carousel/__main__.py").write_text("import os\nos._exit(1)\n")
        with pytest.raises(Failed, match="the process of here ended"):
            version.command("tales")
        (root / "src/carousel/__main__.py").write_text("print('Once')\n")
        assert version.command("tales").out == "Once\n"
    finally:
        version.close()


def test_another_source_is_not_taken_for_the_version(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    version = Version("before", tmp_path / "empty", tmp_path / "here")
    with pytest.raises(Failed, match=r"before: .*carousel is imported instead of .*empty"):
        version.command("tales")


def test_this_checkout_is_the_same_as_itself(tmp_path: Path) -> None:
    """All that is compared and timed of a family works with the real commands."""
    before, after = (Version(name, ROOT / "src", tmp_path / name) for name in ("before", "after"))
    text = tmp_path / "text.txt"
    try:
        tales = before_after.compare_tales(before, after, text, ("--characters", "4000"))
        outcomes = list(version_checks.compare_case(CASES[0], before, after, text))
        assert [o for o in [tales, *outcomes] if o.word != "same"] == []
        assert len(outcomes) == 12
        assert len({o.before for o in outcomes}) == 7  # a different result for each check
        for seconds in (before_after.step_time, before_after.decoding_time):
            assert 0 < seconds(after, "rnn", text) < 60
    finally:
        before.close()
        after.close()


def test_the_worktree_is_removed_though_the_checkout_is_gone(tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path / "main")]
    subprocess.run(["git", "init", "-q", str(tmp_path / "main")], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    checkout = tmp_path / "checkout"
    subprocess.run([*git, "worktree", "add", "-q", "--detach", str(checkout)], check=True)
    with version_process.checked_out(checkout, "HEAD") as folder:
        assert (folder / "tree" / ".git").exists()
        shutil.rmtree(checkout)
    listed = subprocess.run([*git, "worktree", "list"], capture_output=True, text=True, check=True)
    assert str(folder) not in listed.stdout


def test_the_environment_imports_the_version_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("CAROUSEL_KERNELS", "on")
    found = Version("before", Path("/v/src"), Path("/f"), "off").environment()
    assert found["PYTHONPATH"].split(version_process.os.pathsep) == ["/v/src", "/elsewhere"]
    assert found["CAROUSEL_KERNELS"] == "off"
    assert found["CAROUSEL_CACHE"] == "/f/cache"
