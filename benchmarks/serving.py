"""`carousel serve` under load, over loopback: `python -m benchmarks.serving`.

So many clients, each of which asks for a text as soon as it has the last; the clients run on the
same processors as the server. Of the story model, not trained: its speed is that of a trained one.
About two minutes; nothing else should run.
"""

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from benchmarks import machine
from benchmarks.decoding import PRECISIONS, STREAMS, story
from benchmarks.report import table
from benchmarks.results_folder import check_results_folder
from carousel.data.vocabulary import Vocabulary
from carousel.files import make_folder, write_durably
from carousel.inspection.figures import BLUE, ORANGE, drawn
from carousel.models.checkpoint import model_files, write_checkpoint
from carousel.models.language_model import CharacterModel

LENGTH = 1000  # characters of a text
VOCABULARY = Vocabulary(("\n", *map(chr, range(32, 117))))  # as many as the story model has


class Answer(NamedTuple):
    """One text, as a client saw it: seconds to its first character, and to its end."""

    first: float
    whole: float


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="for each number of clients")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    check_results_folder(arguments.out, f"--out {arguments.out}")
    sweep: dict[str, dict[int, tuple[float, list[Answer]]]] = {}
    for precision in PRECISIONS:
        with serving(precision) as port:
            asyncio.run(load(port, 8, 2.0))  # to warm up
            sweep[precision] = {
                count: asyncio.run(load(port, count, arguments.seconds)) for count in STREAMS
            }
    page = f"{machine.described()}\n\n{as_table(sweep)}\n"
    sys.stdout.write(page)
    make_folder(arguments.out)
    rates = {name: {n: rate for n, (rate, _) in row.items()} for name, row in sweep.items()}
    text = json.dumps({"machine": machine.described(), "characters/s": rates}, indent=1)
    write_durably(arguments.out / "serving.json", (text + "\n").encode())  # known by it: the first
    write_durably(arguments.out / "serving.md", page.encode())
    draw(sweep, arguments.out)


@contextmanager
def serving(precision: str) -> Iterator[int]:
    """Serve the story model in a process of its own; yield the port."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "story"
        (run / "checkpoints").mkdir(parents=True)
        model = story()
        assert isinstance(model, CharacterModel)
        files = model_files(model, VOCABULARY, {"model": asdict(model.config)})
        write_checkpoint(run / "checkpoints" / "1", files)
        for pointer in ("best", "last"):
            (run / pointer).write_text("1", encoding="ascii")
        command = [sys.executable, "-m", "carousel", "serve", str(run), "--port", "0"]
        command += ["--precision", precision, "--max-streams", str(max(STREAMS))]
        log = Path(folder) / "log"
        with log.open("w") as errors, subprocess.Popen(command, stderr=errors) as process:
            try:
                yield port_of(log)
            finally:
                process.terminate()


def port_of(log: Path) -> int:
    """Wait until the server says where it listens."""
    for _ in range(1200):
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise SystemExit(f"the server did not start: {log.read_text()}")


async def load(port: int, clients: int, seconds: float) -> tuple[float, list[Answer]]:
    """Let clients ask for so long; return all characters a second, and the answers."""
    answers: list[Answer] = []
    start = time.perf_counter()

    async def client(number: int) -> None:
        seed = 1000 * number
        while time.perf_counter() - start < seconds:
            answers.append(await ask(port, seed))
            seed += 1

    await asyncio.gather(*map(client, range(clients)))
    return LENGTH * len(answers) / (time.perf_counter() - start), answers


async def ask(port: int, seed: int) -> Answer:
    """Ask for a text as a stream, and read it to its end."""
    body = json.dumps(
        {"prompt": "a", "max_tokens": LENGTH, "stream": True, "seed": seed, "temperature": 0.8}
        | {"top_k": 40}
    ).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode() + b"Content-Type: application/json\r\nConnection: close\r\n\r\n")
    writer.write(body)
    first, data = 0.0, b""
    while chunk := await reader.read(65536):
        data += chunk
        if not first and b'"text"' in data:
            first = time.perf_counter() - start
    writer.close()
    if b" 200 " not in data[:20] or b"data: [DONE]" not in data:
        raise SystemExit(f"not answered: {data[-300:]!r}")
    return Answer(first, time.perf_counter() - start)


def as_table(sweep: Mapping[str, Mapping[int, tuple[float, list[Answer]]]]) -> str:
    """Return what was measured, a row for each precision and number of clients."""
    head = ["", "clients", "characters/s", "first character, ms: median, p99", f"{LENGTH:,}, ms"]
    return table(
        head,
        (
            [
                precision,
                str(count),
                f"{rate:,.0f}",
                " , ".join(f"{1e3 * s:.0f}" for s in middle_and_last([a.first for a in answers])),
                " , ".join(f"{1e3 * s:.0f}" for s in middle_and_last([a.whole for a in answers])),
            ]
            for precision, row in sweep.items()
            for count, (rate, answers) in row.items()
        ),
    )


def middle_and_last(seconds: list[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    ranked = sorted(seconds)
    return statistics.median(ranked), ranked[int(0.99 * (len(ranked) - 1))]


def draw(sweep: Mapping[str, Mapping[int, tuple[float, list[Answer]]]], folder: Path) -> None:
    """Draw throughput, and how long a text of LENGTH takes, by clients."""
    with drawn(folder / "serving-throughput") as axes:
        for (precision, row), colour in zip(sweep.items(), (BLUE, ORANGE), strict=True):
            rates = [rate / 1e3 for rate, _ in row.values()]
            axes.plot(list(row), rates, "o-", color=colour, label=precision)
        label_axes(axes, "thousand characters/s, all clients together")
    with drawn(folder / "serving-latency") as axes:
        for (precision, row), colour in zip(sweep.items(), (BLUE, ORANGE), strict=True):
            both = [middle_and_last([a.whole for a in answers]) for _, answers in row.values()]
            medians, last = zip(*both, strict=True)
            axes.plot(list(row), [1e3 * s for s in medians], "o-", color=colour, label=precision)
            axes.plot(list(row), [1e3 * s for s in last], "s:", color=colour, label="  its p99")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        label_axes(axes, f"ms for a text of {LENGTH:,} characters")


def label_axes(axes: Axes, label: str) -> None:
    """Name the axes of a sweep over clients."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(STREAMS, [str(n) for n in STREAMS])
    axes.set(xlabel="clients", ylabel=label)
    axes.legend(frameon=False, title="story model, over HTTP")


if __name__ == "__main__":
    main()
