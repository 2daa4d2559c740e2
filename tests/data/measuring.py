"""Run by tests in a process of its own: prepare a text, or train on two, and print the measures.

What counts is anonymous memory (RssAnon of Linux): pages mapped from files do not, as the system
takes them back at will.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path


def anonymous_memory() -> int:
    """The bytes in memory that no file stands behind."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def watched(work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Do some work and add how much the memory grew at most, and the seconds it took."""
    baseline = most = anonymous_memory()
    is_done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_done.wait(0.005):
            most = max(most, anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = time.perf_counter()
    try:
        found = work()
    finally:
        is_done.set()
        watcher.join()
    return found | {"grown": most - baseline, "seconds": time.perf_counter() - before}


def prepare(cache: Path, path: Path) -> dict[str, object]:
    from carousel.data.corpus import prepare

    def work() -> dict[str, object]:
        before = time.process_time()
        corpus = prepare([path], cache=cache)
        return {
            "characters": len(corpus),
            "symbols": len(corpus.vocabulary),
            "documents": len(corpus.fingerprints),
            "sha256": corpus.sha256,
            "cpu_seconds": time.process_time() - before,
        }

    return watched(work)


def train(cache: Path, large: Path, small: Path, steps: int) -> dict[str, object]:
    """Train on both texts in turn, step by step; ratios are of the large one's steps per second."""
    from carousel.data.corpus import prepare
    from carousel.training.config import run_config
    from carousel.training.setup import new_trainer
    from carousel.training.trainer import train_step

    def work() -> dict[str, object]:
        corpora = [prepare([path], cache=cache) for path in (large, small)]
        ratios = {}
        for batching in ("windows", "lanes"):
            settings = run_config(
                ("model", {"model": {"embedding_size": 8, "hidden_size": 16}}),
                ("size", {"training": {"batch_size": 32, "sequence_length": 64, "steps": steps}}),
                ("batching", {"training": {"batching": batching, "learning_rate": 8e-3}}),
            )
            trainers = [
                new_trainer(settings, len(corpus.vocabulary), corpus.ids, "cpu")
                for corpus in corpora
            ]
            rounds: list[tuple[list[float], list[float]]] = []
            for step in range(steps):
                if step % max(steps // 8, 1) == 0:
                    rounds.append(([], []))
                pairs = list(zip(trainers, rounds[-1], strict=True))
                for trainer, seconds in pairs if step % 2 else reversed(pairs):
                    before = time.perf_counter()
                    train_step(trainer)
                    seconds.append(time.perf_counter() - before)
            slow, quick = ([statistics.median(each[k]) for each in rounds] for k in (0, 1))
            ratios[batching] = statistics.median(b / a for a, b in zip(slow, quick, strict=True))
        return {"speed": ratios}

    return watched(work)


if __name__ == "__main__":
    kind, cache, *rest = sys.argv[1:]
    if kind == "prepare":
        measures = prepare(Path(cache), Path(rest[0]))
    else:
        measures = train(Path(cache), Path(rest[0]), Path(rest[1]), int(rest[2]))
    sys.stdout.write(json.dumps(measures))
