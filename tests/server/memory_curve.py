"""The memory of a server under the soak's load, minute by minute: a curve, not two points.

    PYTHONPATH=tests python -m serving.memory_curve --minutes 60 --out runs/memory-curve

Every sample is a line of OUT/curve.jsonl as soon as it is measured, so that a run that is cut short
leaves what it has. Under load there is a sample a minute; every PERIOD minutes the clients pause,
and after REST seconds, when idle connections are closed and idle threads have ended, there is one
"at rest": these are what the soak's bound is about. OUT/curve.md is a table of those.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from carousel.data.vocabulary import Vocabulary
from carousel.models.config import ModelConfig
from generation.saved_model import save_run
from server.client import Command, command
from server.running import descriptors, threads, until
from server.traffic import Traffic

PERIOD = 5  # minutes from one rest to the next
REST = 32.0  # seconds
CLIENTS = 24
VOCABULARY = Vocabulary.from_text("\n abcdefghijklmnopqrstuvwxyz.,")
MODEL = ModelConfig(embedding_size=64, hidden_size=256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between two requests")
    parser.add_argument("--out", type=Path, default=Path("runs/memory-curve"))
    params = parser.parse_args()
    probes = params.out / "probes"
    probes.mkdir(parents=True, exist_ok=True)
    os.environ |= environment(probes)
    runs = [save_run(params.out / name, VOCABULARY, MODEL) for name in ("one", "two")]
    with (
        command(*map(str, runs), "--max-streams", "16") as server,
        (params.out / "curve.jsonl").open("a", encoding="utf-8") as curve,
    ):
        traffic = Traffic(server.port, params.clients, params.pause)
        begun = time.monotonic()

        def note(state: str) -> None:
            minute = (time.monotonic() - begun) / 60
            row = {"minute": round(minute, 2), "state": state}
            row |= {"requests": traffic.statuses.total(), "processes": sizes(server, probes)}
            curve.write(json.dumps(row) + "\n")
            curve.flush()

        period = 0
        while time.monotonic() < begun + 60 * params.minutes:
            traffic.begin(seed=1000 * period)
            end = time.monotonic() + 60 * PERIOD - REST
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(60.0, left))
                note("load")
            traffic.end(is_strict=False)
            time.sleep(REST)
            note("rest")
            period += 1
    (params.out / "curve.md").write_text(table(params.out / "curve.jsonl"), encoding="utf-8")


def environment(probes: Path) -> dict[str, str]:
    """Return the variables by which each process of a server writes down what it holds."""
    path = [str(Path(__file__).with_name("memory_probe")), os.environ.get("PYTHONPATH", "")]
    return {
        "CAROUSEL_MEMORY_PROBE": str(probes.resolve()),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }


def growth(figures: Sequence[float]) -> float:
    """Return how much figures at equal distances grow from the first to the last, by their trend.

    It is the median of the slopes between any two, which a single high or low one does not move:
    memory comes and goes in blocks of a megabyte. Source: Sen 1968, JASA 63 (324), 1379-1389.
    """
    pairs = combinations(enumerate(figures), 2)
    return statistics.median((b - a) / (n - m) for (m, a), (n, b) in pairs) * (len(figures) - 1)


def sizes(server: Command, probes: Path) -> dict[str, dict[str, int]]:
    """Return what the front and each worker hold, seen by the kernel and by themselves.

    Call `environment` before the server is started.
    """
    question = str(time.monotonic())
    (probes / "ask").write_text(question)
    names = {server.process.pid: "front"}
    names |= {pid: f"worker {n}" for n, pid in enumerate(sorted(server.workers()), 1)}
    answers = {pid: answer(probes / f"{pid}.jsonl", question) for pid in names}
    return {name: size(pid) | answers[pid] for pid, name in names.items()}


def answer(file: Path, question: str) -> dict[str, int]:
    """Wait for what a process says of itself; nothing if it says nothing for a minute."""
    found: list[dict[str, int]] = []

    def is_there() -> bool:
        lines = file.read_text().splitlines() if file.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        found.extend(row for row in rows if row.pop("ask") == question)
        return bool(found)

    return found[0] if until(is_there, seconds=60) else {}


def size(pid: int) -> dict[str, int]:
    """Return the figures of one process, in bytes and numbers."""
    figures = {"pid": pid, "descriptors": descriptors(pid), "all_threads": threads(pid)}
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    for name in ("Rss", "Pss", "Anonymous"):
        (kibibytes,) = re.findall(rf"^{name}:\s+(\d+) kB", rollup, re.MULTILINE)
        figures[name.lower()] = int(kibibytes) * 1024
    return figures


def table(curve: Path) -> str:
    """Return the samples at rest as a table of Markdown."""
    rows = [json.loads(line) for line in curve.read_text(encoding="utf-8").splitlines()]
    names = list(rows[0]["processes"])
    head = ["minute", "requests", *(f"{name}: RSS, heap in use" for name in names)]
    lines = [head, ["--:"] * len(head)]
    for row in rows:
        if row["state"] == "rest":
            held = [row["processes"].get(name, {}) for name in names]
            cells = [_pair(each) for each in held]
            lines.append([f"{row['minute']:.0f}", f"{row['requests']:,}", *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _pair(figures: dict[str, int]) -> str:
    keys = ("anonymous", "heap_in_use")
    return ", ".join(f"{figures[key] / 1e6:.2f}" if key in figures else "" for key in keys)


if __name__ == "__main__":
    sys.exit(main())
