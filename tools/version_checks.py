"""What two versions of Carousel must agree on: the cases, and the results compared for each."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tools.version_process import Failed, Version

STEPS = 50
CHARACTERS = 2000  # of a sample
_SIZES = ("--embedding-size", "16", "--hidden-size", "32", "--batch-size", "8")
_FIXED = ("--sequence-length", "32", "--sample-every", "0", "--threads", "1", "--device", "cpu")
_SCHEDULE = ("--steps", str(STEPS), "--eval-every", "25", "--save-every", "25")
_INTERRUPT = 40  # calls of `step`: after those that measure the speed, before the last of STEPS
_URL = re.compile(r"http://[\w.:]+/")
_FAILED = "failed: "


class Case(NamedTuple):
    """A model to train: its name, its flags of `train`, and settings of this comparison."""

    name: str
    flags: tuple[str, ...]
    kernels: str = "auto"
    length: int = CHARACTERS

    @property
    def folder(self) -> str:
        """The name of its run folder."""
        return re.sub(r"\W+", "-", self.name)


def _case(name: str, flags: str, **settings: Any) -> Case:
    return Case(name, tuple(flags.split()), **settings)


CASES = (
    _case("rnn", "--model rnn"),
    _case("rnn, relu, 2 layers", "--model rnn --nonlinearity relu --num-layers 2"),
    _case("gru", "--model gru"),
    _case("gru, reset before", "--model gru --no-reset-after --initialization chrono"),
    _case("gru, no kernels", "--model gru", kernels="off"),
    _case("lstm", "--model lstm"),
    _case("lstm, dropout", "--num-layers 2 --dropout 0.2 --tie-weights --hidden-size 16"),
    _case("lstm, peephole", "--peephole --initialization torch"),
    _case("lstm, coupled", "--coupled"),
    _case("lstm, layer norm", "--layer-norm --batching windows --optimizer adam"),
    _case("lstm, projection", "--proj-size 12"),
    _case("lstm, no forget gate", "--no-forget-gate"),
    _case(
        "lstm, regularized",
        "--zoneout 0.1 --recurrent-dropout 0.1 --variational-dropout 0.1 --optimizer adamw",
    ),
    _case("lstm, bf16", "--precision bf16"),
    _case("lstm, no kernels", "--num-layers 2", kernels="off"),
    _case("mlp", "--model mlp --num-layers 2"),
    _case("transformer", "--model transformer --num-layers 2 --num-heads 2"),
    _case(
        "transformer, learned",
        "--model transformer --positions learned --num-heads 2 --dropout 0.1",
        length=100,  # it has context_length positions
    ),
    _case("transformer, no kernels", "--model transformer --num-heads 2", kernels="off"),
)


class Outcome(NamedTuple):
    """A result of both versions: a number, a hash, or a line that begins with "failed: "."""

    case: str
    check: str
    before: str
    after: str

    @property
    def word(self) -> str:
        """The word for the table."""
        if self.before.startswith(_FAILED) or self.after.startswith(_FAILED):
            return "failed"
        return "same" if self.before == self.after else "different"


def digest(text: str) -> str:
    """Return a short hash of a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def losses(run: Path) -> str:
    """Return a hash of all numbers in a run's metrics, in order; the names are left out."""
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return digest(repr([list(json.loads(line).values()) for line in lines]))
    except (OSError, ValueError) as error:
        raise Failed(f"metrics.jsonl: {error}") from None


def attempt(result: Callable[..., str], *arguments: Any) -> str:
    """Return the result of a function for arguments, or how it failed, in one line."""
    try:
        return result(*arguments)
    except Failed as error:
        return _FAILED + " ".join(str(error).split())


def train_flags(case: Case, text: Path, out: Path) -> list[str]:
    """Return the arguments that train a case."""
    fixed = [*_SIZES, *_FIXED, *_SCHEDULE]
    return ["train", str(text), "--out", str(out), *fixed, *case.flags]


def sample(version: Version, run: str, length: int, *flags: str) -> str:
    """Return the hash of a sample."""
    return digest(version.command("sample", run, "--length", str(length), *flags).out)


def evaluate(version: Version, run: str, text: Path, lanes: int = 1) -> str:
    """Return the loss on a text, in nats per character, with all its digits."""
    arguments = ["eval", run, str(text), "--json", "--lanes", str(lanes), "--on-unknown", "skip"]
    try:
        return repr(json.loads(version.command(*arguments).out)["nats_per_character"])
    except (ValueError, KeyError) as error:
        raise Failed(f"eval --json: {error!r}") from None


def results_of_run(version: Version, run: Path, case: Case, text: Path) -> dict[str, str]:
    """Return what a version makes of a run, by check."""
    name, length = str(run), case.length
    penalty = ("--repetition-penalty", "1.2", "--top-k", "20", "--num-samples", "2")
    first = ("--candidates", "1")
    return {
        "weights": attempt(version.weights, run),
        "text": attempt(sample, version, name, length, *first),
        "candidates": attempt(sample, version, name, min(400, length), *penalty),
        "eval": attempt(evaluate, version, name, text),
        "lanes": attempt(evaluate, version, name, text, 8),
    }


def compare_case(case: Case, before: Version, after: Version, text: Path) -> Iterator[Outcome]:
    """Yield the results of both versions for one case."""
    runs = {version: version.folder / case.folder for version in (before, after)}

    def trained(version: Version) -> str:
        version.command(*train_flags(case, text, runs[version]))
        return losses(runs[version])

    outcome = Outcome(case.name, "losses", attempt(trained, before), attempt(trained, after))
    yield outcome
    if outcome.before.startswith(_FAILED):
        return  # there is nothing to load
    old, new = (results_of_run(version, run, case, text) for version, run in runs.items())
    loaded = results_of_run(after, runs[before], case, text)
    for check, value in old.items():
        yield Outcome(case.name, check, value, new[check])
    for check, value in old.items():
        yield Outcome(case.name, f"old run: {check}", value, loaded[check])
    yield Outcome(case.name, "old run: resumed", *_resumed(case, before, after, text))


def _resumed(case: Case, before: Version, after: Version, text: Path) -> tuple[str, str]:
    """Interrupt a run of `before`; return what each version makes of it by resuming it."""
    start = before.folder / f"{case.folder}-interrupted"
    copies = {version: version.folder / f"{case.folder}-resumed" for version in (before, after)}

    def resumed(version: Version) -> str:
        version.command(*train_flags(case, text, copies[version]), "--resume")
        return f"{losses(copies[version])} {version.weights(copies[version])}"

    try:
        before.command(*train_flags(case, text, start), codes=(130,), interrupt=_INTERRUPT)
    except Failed as error:
        return _FAILED + str(error), _FAILED + "not interrupted"
    for copy in copies.values():
        shutil.copytree(start, copy)
    return attempt(resumed, before), attempt(resumed, after)


def compare_story(before: Version, after: Version, text: Path) -> Iterator[Outcome]:
    """Yield the results of both versions for the model that ships, and for the earlier file."""
    checks: dict[str, tuple[Callable[..., str], tuple[Any, ...]]] = {
        "text": (sample, (CHARACTERS, "--candidates", "1")),
        "candidates": (sample, (400,)),
        "eval": (evaluate, (text,)),
        "lanes": (evaluate, (text, 8)),
        "served": (served, ()),
    }
    file = next(before.source.glob("**/story/model.safetensors"), Path("no story of before"))
    for check, (result, arguments) in checks.items():
        old, new = (attempt(result, v, "story", *arguments) for v in (before, after))
        yield Outcome("story", check, old, new)
        if result is not served:
            loaded = attempt(result, after, str(file.parent), *arguments)
            yield Outcome("story", f"old run: {check}", old, loaded)


def served(version: Version, run: str) -> str:
    """Return the hash of four completions that a server writes in one batch."""
    arguments = ["-P", "-m", "carousel", "serve", run, "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=version.folder,
        env=version.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    timer = threading.Timer(300, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next((match[0] for line in lines if (match := _URL.search(line))), None)
        if url is None:
            raise Failed("serve ended before it printed a URL")
        model = _fetch(f"{url}v1/models")["data"][0]["id"]
        request = {"model": model, "prompt": "Once", "max_tokens": 300, "n": 4, "seed": 7}
        choices = _fetch(f"{url}v1/completions", request)["choices"]
        return digest(repr([choice["text"] for choice in choices]))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise Failed(f"serve: {error!r}") from None
    finally:
        timer.cancel()
        process.terminate()
        process.communicate()


def _fetch(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)
