"""How fast texts are written, beside loops over torch's cells: `python -m benchmarks.decoding`.

The story model (E 64, H 256, V 86, an LSTM), temperature 0.8 and top-k 40. One stream has one
thread, many have all. What stands in a table was run in turns in one process, round by round.
About three minutes; nothing else should run.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from benchmarks import machine
from benchmarks.figures import Spread, ratio_of
from benchmarks.interleaved_timer import timed
from benchmarks.report import table
from benchmarks.results_folder import check_results_folder
from carousel.files import make_folder, write_durably
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.kernel_runner import KernelRunner
from carousel.generation.request import Request
from carousel.inspection.figures import BLUE, ORANGE, drawn
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.language_model import build

E, H, V = 64, 256, 86
TEMPERATURE, TOP_K = 0.8, 40
PROMPT = 10_000  # characters
STREAMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}

# Of the same number of parameters and about the same loss on the tales: experiments/families.
LSTM = ModelConfig(model="lstm", embedding_size=64, hidden_size=276)
TRANSFORMER = ModelConfig(model="transformer", embedding_size=128, hidden_size=512, num_layers=2)


class Runner(NamedTuple):
    """One way to write: what runs it once, and how many characters that are."""

    run: Callable[[], None]
    characters: int


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each table, about")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    check_results_folder(arguments.out, f"--out {arguments.out}")
    cores = machine.cores()
    parts = {
        "one stream, one thread": one_stream(),
        f"64 streams, {cores} threads": many_streams(cores),
        f"a prompt of {PROMPT:,} characters": prompts(),
        f"families at 64 streams, {cores} threads": families(cores),
    }
    figures: dict[str, dict[str, list[float]]] = {}
    lines = [f"{machine.described()}", ""]
    for title, ways in parts.items():
        times = measured(ways, arguments.seconds)
        figures[title] = times
        lines += [f"**{title}**", "", as_table(times), ""]
        sys.stdout.write("\n".join(lines[-4:]) + "\n")
    sweep = {
        name: {
            count: measured({"": streams(story(), count, compute_dtype, 500, cores)}, 2)[""]
            for count in STREAMS
        }
        for name, compute_dtype in PRECISIONS.items()
    }
    figures["sweep"] = {f"{name}, {n}": us for name, row in sweep.items() for n, us in row.items()}
    make_folder(arguments.out)
    text = json.dumps({"machine": machine.described(), "us": figures}, indent=1)
    write_durably(arguments.out / "decoding.json", (text + "\n").encode())  # known by it: the first
    write_durably(arguments.out / "decoding.md", "\n".join(lines).encode())
    draw(sweep, arguments.out, cores)


def measured(ways: Mapping[str, Runner], seconds: float) -> dict[str, list[float]]:
    """Return microseconds a character of each way, round by round."""
    times = timed({name: way.run for name, way in ways.items()}, dict.fromkeys(ways, 9), seconds)
    return {name: [1e3 * ms / ways[name].characters for ms in row] for name, row in times.items()}


def one_stream() -> dict[str, Runner]:
    """Write alone on one core."""
    return {
        "loop over nn.LSTMCell": looped(nn.LSTMCell(E, H), 400),
        "loop over nn.LSTM": looped(nn.LSTM(E, H), 200),
        "engine, float32": streams(story(), 1, torch.float32, 10_000, 1),
        "engine, bf16": streams(story(), 1, torch.bfloat16, 10_000, 1),
    }


def many_streams(cores: int) -> dict[str, Runner]:
    """Write 64 texts, and one, in either precision."""
    return {
        f"{count} in {name}": streams(story(), count, compute_dtype, length, threads)
        for name, compute_dtype in PRECISIONS.items()
        for count, length, threads in ((1, 10_000, 1), (64, 1_000, cores))
    }


def prompts() -> dict[str, Runner]:
    """Read a long prompt on one core, up to the first character."""
    cell, embedding, output = nn.LSTMCell(E, H), nn.Embedding(V, E), nn.Linear(H, V)
    ids = torch.randint(V, (PROMPT,), generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def read() -> None:
        h = c = torch.zeros(1, H)
        for x in embedding(ids).split(1):
            h, c = cell(x, (h, c))
        drawn_from(output(h)[0])

    ways = {"loop over nn.LSTMCell": Runner(on(1, read), PROMPT)}
    for name, compute_dtype in PRECISIONS.items():
        engine = Engine(story(), compute_dtype=compute_dtype)
        request = Request(prompt=ids.tolist(), length=1)

        def write(engine: Engine = engine, request: Request = request) -> None:
            engine.add(0, request)
            finish(engine)

        ways[f"engine, {name}"] = Runner(on(1, write), PROMPT)
    return ways


def families(cores: int) -> dict[str, Runner]:
    """Write 64 texts with an LSTM and a transformer of about the same size and loss."""
    return {
        "LSTM, float32": streams(build(LSTM, 63).eval(), 64, torch.float32, 500, cores),
        "transformer, float32": streams(build(TRANSFORMER, 63).eval(), 64, torch.float32, 8, cores),
    }


def story() -> LanguageModel:
    """Return the story model, not trained: its speed is that of a trained one."""
    torch.manual_seed(0)
    return build(ModelConfig(model="lstm", embedding_size=E, hidden_size=H), V).eval()


def streams(
    model: LanguageModel, count: int, compute_dtype: torch.dtype, length: int, threads: int
) -> Runner:
    """Write so many texts of so many characters at once."""
    engine = Engine(model, compute_dtype=compute_dtype, rows=count)
    is_recurrent = getattr(model, "config", LSTM).model == "lstm"
    if is_recurrent and not isinstance(engine._runner, KernelRunner):
        raise SystemExit("there are no kernels here: carousel kernels status says why")
    requests = [
        Request(
            prompt=[1],
            length=length,
            sampling=SamplingConfig(seed=seed, temperature=TEMPERATURE, top_k=TOP_K),
        )
        for seed in range(count)
    ]

    def write() -> None:
        for key, request in enumerate(requests):
            engine.add(key, request)
        finish(engine)

    return Runner(on(threads, write), count * length)


def finish(engine: Engine) -> None:
    """Write to the end, in turns as long as those of the server."""
    while len(engine):
        engine.step(0.02)


def looped(recurrence: nn.LSTMCell | nn.LSTM, length: int) -> Runner:
    """Write as one does with torch: a call of the layer, of top-k, softmax and multinomial each."""
    embedding, output = nn.Embedding(V, E), nn.Linear(H, V)

    @torch.inference_mode()
    def write() -> None:
        h = c = torch.zeros(1, H)
        token, text = torch.tensor([1]), []
        for _ in range(length):
            if isinstance(recurrence, nn.LSTM):
                _, (h, c) = recurrence(embedding(token), (h, c))
            else:
                h, c = recurrence(embedding(token), (h, c))
            token = drawn_from(output(h)[0])
            text.append(token)
        torch.cat(text).tolist()

    return Runner(on(1, write), length)


def drawn_from(logits: torch.Tensor) -> torch.Tensor:
    """Draw by temperature and top-k with torch's operations."""
    best, ids = (logits / TEMPERATURE).topk(TOP_K)
    return ids[torch.multinomial(best.softmax(0), 1)]


def on(threads: int, run: Callable[[], None]) -> Callable[[], None]:
    """Return what runs with so many threads."""

    def with_threads() -> None:
        torch.set_num_threads(threads)
        run()

    return with_threads


def as_table(times: Mapping[str, list[float]]) -> str:
    """Return medians, rates, and how many times as fast as the first way."""
    first = next(iter(times.values()))
    return table(
        ["way", "µs a character", "characters/s", "against the first"],
        (
            [
                way,
                f"{statistics.median(us):.2f}",
                f"{1e6 / statistics.median(us):,.0f}",
                shown(ratio_of(first, us)),
            ]
            for way, us in times.items()
        ),
        rule="--:",
    )


def shown(ratio: Spread) -> str:
    """Return a ratio with its interval."""
    return f"{ratio.median:.2f}× ({ratio.low:.2f}-{ratio.high:.2f})"


def draw(sweep: Mapping[str, Mapping[int, list[float]]], folder: Path, cores: int) -> None:
    """Draw all characters a second, and the time between two of one text, by streams."""
    rates = {n: [1e3 / statistics.median(us) for us in row.values()] for n, row in sweep.items()}
    waits = {
        name: [count * statistics.median(us) for count, us in row.items()]
        for name, row in sweep.items()
    }
    for name, curves, label in (
        ("decoding-throughput", rates, "thousand characters/s, all streams together"),
        ("decoding-latency", waits, "µs from one character of a stream to its next"),
    ):
        with drawn(folder / name) as axes:
            for (way, values), colour in zip(curves.items(), (BLUE, ORANGE), strict=True):
                axes.plot(STREAMS, values, "o-", color=colour, label=way)
            axes.set_xscale("log", base=2)
            axes.set_xticks(STREAMS, [str(n) for n in STREAMS])
            axes.set_ylim(0)
            axes.set(xlabel="streams", ylabel=label)
            axes.legend(frameon=False, title=f"story model, {cores} threads")


if __name__ == "__main__":
    main()
