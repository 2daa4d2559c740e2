"""Compare a commit with this checkout: the same numbers, the same texts, and not slower.

    python tools/before_after.py HEAD~1            everything, 30 rounds of times
    python tools/before_after.py HEAD~1 --quick    the same comparisons, 12 rounds of times
    python tools/before_after.py v1 --only lstm    the cases and times whose name contains "lstm"

The commit is checked out into a temporary worktree, which is removed at the end. Both versions run
with this interpreter and its libraries, in turns, through the command line: weights and losses of
50 steps, samples, losses of `eval`, completions of a server. Runs of the commit, and its `story`,
are also loaded, sampled, evaluated and resumed by this checkout. Modules and parameters may have
other names: weights are compared in the order in which a model registers them.

A time is slower if the 95 % interval of the median ratio lies above 1.05. Exit code 0: all is the
same and nothing slower; 1: not so, or a command failed; 2: wrong usage.
"""

import argparse
import shutil
import signal
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))  # to run as a script

from tools.paired_ratio import SLOWER, Ratio, interleaved, paired_ratio
from tools.version_checks import CASES, Case, Outcome, compare_case, compare_story, digest
from tools.version_process import Failed, Version, checked_out, resolve_commit

ROOT = Path(__file__).parents[1]
ROUNDS, QUICK_ROUNDS = 30, 12
FAMILIES = ("rnn", "gru", "lstm", "mlp", "transformer")
TEXT, SHORT_TEXT = ("--characters", "30000"), ("--characters", "2000")  # of `carousel tales`
_STEPS_AT_LEAST = 12  # timed in a round
_INTERRUPT = 24  # calls of `step`, some to warm up

Task = tuple[Callable[[], float], Callable[[], float]]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Compare, print the tables, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    commit = resolve_commit(root, options.commit)
    if commit is None:
        parser.error(f"no commit {options.commit!r} in this repository; a tag or HEAD~1 would work")
    if not _cases(options.only) and not _names_of_times(options.only):
        parser.error(f"--only {options.only!r}: no case or time has it in its name")
    try:
        with checked_out(root, commit) as folder, ExitStack() as stack:
            return _compare(folder, root, options, stack)
    except Failed as error:
        print(f"before_after: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("before_after: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("commit", help="the version before, such as HEAD~1")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds of times")
    parser.add_argument("--only", default="", metavar="WORD", help="cases and times with this name")
    return parser


def _cases(word: str) -> list[Case]:
    return [case for case in CASES if word in case.name]


def _names_of_times(word: str) -> list[str]:
    names = [f"{kind}, {name}" for name in FAMILIES for kind in ("step", "decoding")]
    return [name for name in (*names, *_STORY_TIMES) if word in name]


_STORY_TIMES: dict[str, tuple[str, ...]] = {
    "decoding, story": ("--length", "1000", "--candidates", "1"),
    "decoding, story, 12 candidates": ("--length", "100"),
}


def _compare(folder: Path, root: Path, options: argparse.Namespace, stack: ExitStack) -> int:
    """Run everything with both versions, print the tables, and return the exit code."""

    def start(name: str, source: Path, kernels: str) -> Version:
        version = Version(name, source, folder / f"{name}-{kernels}", kernels)
        stack.callback(version.close)
        return version

    pairs = {
        kernels: (
            start("before", folder / "tree" / "src", kernels),
            start("after", root / "src", kernels),
        )
        for kernels in ("auto", "off")
    }
    before, after = pairs["auto"]
    for version in (before, after):
        progress(f"{version.name}: {version.source}; compiling its kernels")
        version.command("kernels", "build", codes=(0, 1))
    text, short = before.folder / "text.txt", before.folder / "short.txt"
    outcomes = [compare_tales(before, after, text, TEXT)]
    before.command("tales", *SHORT_TEXT, "--out", str(short))
    cases = _cases(options.only)
    for number, case in enumerate(cases, 1):
        progress(f"[{number}/{len(cases)}] {case.name}")
        outcomes += compare_case(case, *pairs[case.kernels], text)
    if options.only in "story":
        progress("story")
        outcomes += compare_story(before, after, short)
    print("\n".join(table(outcomes)), flush=True)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    ratios, failures = _time(tasks(before, after, text, options.only), rounds)
    print("\n".join(["", *table_of_times(ratios, failures, rounds)]), flush=True)
    return exit_code(outcomes, ratios, failures)


def compare_tales(before: Version, after: Version, text: Path, flags: Iterable[str]) -> Outcome:
    """Compare the built-in tales; those of the version before are kept as the text of all cases."""
    old, new = (version.command("tales", *flags).out for version in (before, after))
    text.write_text(old, encoding="utf-8")
    return Outcome("tales", "text", digest(old), digest(new))


def exit_code(
    outcomes: Iterable[Outcome], ratios: dict[str, Ratio], failures: dict[str, str]
) -> int:
    """Return 0 if all is the same and nothing slower or failed, else 1."""
    is_same = all(outcome.word == "same" for outcome in outcomes)
    return 0 if is_same and not failures and not any(r.is_slower for r in ratios.values()) else 1


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a Markdown table, a line for each case, and a line for each result not the same."""
    checks = list(dict.fromkeys(outcome.check for outcome in outcomes))
    words = {(outcome.case, outcome.check): outcome.word for outcome in outcomes}
    lines = [f"| case | {' | '.join(checks)} |", f"|---{'|---' * len(checks)}|"]
    for case in dict.fromkeys(outcome.case for outcome in outcomes):
        cells = [words.get((case, check), "") for check in checks]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    others = [outcome for outcome in outcomes if outcome.word != "same"]
    lines += ["", f"{len(outcomes) - len(others)} of {len(outcomes)} results are the same"]
    return lines + [
        f"{o.word}: {o.case}, {o.check}: before {o.before}, after {o.after}" for o in others
    ]


def table_of_times(ratios: dict[str, Ratio], failures: dict[str, str], rounds: int) -> list[str]:
    """Return a Markdown table of times, in milliseconds, and a line for each failure."""
    lines = [
        f"| {rounds} rounds | before ms | after ms | after / before | 95 % interval | |",
        "|---|---|---|---|---|---|",
    ]
    for name, ratio in ratios.items():
        times = f"{1e3 * ratio.before:.2f} | {1e3 * ratio.after:.2f} | {ratio.median:.3f}"
        word = "SLOWER" if ratio.is_slower else "not slower"
        lines.append(f"| {name} | {times} | {ratio.low:.3f} to {ratio.high:.3f} | {word} |")
    slower = sum(ratio.is_slower for ratio in ratios.values())
    lines += ["", f"{slower} of {len(ratios)} times are slower (interval above {SLOWER})"]
    return lines + [f"failed: {name}: {reason}" for name, reason in failures.items()]


def tasks(before: Version, after: Version, text: Path, only: str = "") -> dict[str, Task]:
    """Return what is timed, by name: a training step and decoding of each family and `story`."""
    every: dict[str, Task] = {}
    for family in FAMILIES:
        every[f"step, {family}"] = _both(before, after, step_time, family, text)
        every[f"decoding, {family}"] = _both(before, after, decoding_time, family, text)
    for name, flags in _STORY_TIMES.items():
        every[name] = _both(before, after, sampling_time, "story", *flags)
    names = _names_of_times(only)
    return {name: task for name, task in every.items() if name in names}


def _both(
    before: Version, after: Version, measure: Callable[..., float], *arguments: object
) -> Task:
    return partial(measure, before, *arguments), partial(measure, after, *arguments)


def step_time(version: Version, family: str, text: Path) -> float:
    """Train a few steps, interrupted before the end, and return the median seconds of a step."""
    run = version.folder / f"timed-{family}"
    shutil.rmtree(run, ignore_errors=True)
    sizes = ("--embedding-size", "64", "--hidden-size", "128", "--num-layers", "1")
    fixed = ("--threads", "1", "--device", "cpu", "--optimizer", "adam", "--sample-every", "0")
    shape = ("--batch-size", "16", "--sequence-length", "64", "--steps", "1000")
    arguments = ["train", str(text), "--out", str(run), "--model", family, *sizes, *fixed, *shape]
    reply = version.command(*arguments, codes=(130,), interrupt=_INTERRUPT)
    differences = [b - a for a, b in zip(reply.steps, reply.steps[1:], strict=False)]
    if len(differences) < _STEPS_AT_LEAST:
        raise Failed(f"only {len(differences)} steps were seen")
    return statistics.median(differences[-_STEPS_AT_LEAST:])


def decoding_time(version: Version, family: str, text: Path) -> float:
    """Return the seconds in which the model of `step_time` writes a text."""
    run = version.folder / f"timed-{family}"
    if not run.exists():
        step_time(version, family, text)
    length = "1000" if family == "transformer" else "4000"
    return sampling_time(version, str(run), "--length", length, "--candidates", "1")


def sampling_time(version: Version, run: str, *flags: str) -> float:
    """Return the seconds of `sample`, most of which is decoding."""
    return version.command("sample", run, *flags).seconds


def _time(every: dict[str, Task], rounds: int) -> tuple[dict[str, Ratio], dict[str, str]]:
    """Return the ratio of each task, and of those that failed the reason."""
    failures: dict[str, str] = {}
    for name, task in every.items():  # also to warm up
        try:
            for run in task:
                run()
        except Failed as error:
            failures[name] = str(error)
    able = {name: task for name, task in every.items() if name not in failures}
    times = interleaved(able, rounds, lambda number: progress(f"times, round {number}/{rounds}"))
    return {name: paired_ratio(*pair) for name, pair in times.items()}, failures


def progress(line: str) -> None:
    """Print a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def _end(number: int, frame: object) -> NoReturn:
    """End on SIGTERM, after removing what was made."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
