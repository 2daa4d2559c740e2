"""Which settings write as the books are written?

python -m experiments.story.decoding CORPORA [--run RUN]

The model goes on from the beginnings of paragraphs of the validation books, which it never saw, and
what it writes is counted beside what stands in the books there: as many texts, of the same length.
Best is, among the settings that repeat themselves no more than the books do, the one with the
fewest unknown words. The figures go to experiments/story/results/decoding.json, setting by setting,
and a table to stdout; what stands there of the same weights is not counted again.
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from carousel.data.corpus import prepare
from carousel.data.range_view import part
from carousel.data.split import split
from carousel.files import make_folder, write_durably
from carousel.generation.config import SamplingConfig
from carousel.generation.engine import Engine
from carousel.generation.request import Request
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.inspection.text_statistics import distinct, known_words, repetition, words
from carousel.models.checkpoint import TrainedModel, load_model

RESULTS = Path(__file__).parent / "results"
FOUND = RESULTS / "decoding.json"
TEXTS, PROMPT, LENGTH = 200, 60, 1000  # characters
SELDOM = 5  # a word that the training books have less often is in no dictionary
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
STAGES: tuple[dict[str, Any], ...] = (
    {},
    {"top_k": 10},
    {"top_p": 0.9},
    {"top_p": 0.95},
    {"min_p": 0.02},
    {"min_p": 0.05},
    {"repetition_penalty": 1.02},
    {"repetition_penalty": 1.05},
    {"repetition_penalty": 1.1},
)
GRID = [
    *({"temperature": t, **stage} for t in TEMPERATURES for stage in STAGES),
    *(
        {"temperature": t, **stage, "candidates": candidates}
        for candidates in (4, 12)  # with 16 it writes less than 1,000 characters a second
        for t in (0.5, 0.6, 0.7)
        for stage in ({}, {"top_p": 0.9}, {"top_p": 0.95})
    ),
]


def main() -> None:
    """Count under every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--run", type=Path, default=Path("story"))
    asked = parser.parse_args()
    trained = load_model(asked.run)
    train, held_out = books(asked.corpora, trained)
    counts = Counter(words(train))
    dictionary = {word for word, count in counts.items() if count >= SELDOM}
    places = paragraphs(held_out)
    prompts = [held_out[place : place + PROMPT] for place in places]
    theirs = [held_out[place + PROMPT : place + PROMPT + LENGTH] for place in places]
    target = figures(theirs, dictionary)
    weights = hashlib.sha256((trained.folder / "model.safetensors").read_bytes()).hexdigest()
    known = counted(weights)
    print(line("the books", target), flush=True)
    for settings in GRID:
        name = named(settings)
        if name not in known:
            texts = written(trained, prompts, SamplingConfig(**settings))
            known[name] = {"settings": settings, **figures(texts, dictionary)}
            keep({"weights": weights, "books": target, "rows": [*known.values()]})
        print(line(name, known[name]), flush=True)
    rows = [known[named(settings)] for settings in GRID]
    found = {"weights": weights, "books": target, "best": best(rows, target), "rows": rows}
    keep(found)
    print(f"best: {named(found['best'])}")


def keep(found: dict[str, Any]) -> None:
    """Write what was counted so far."""
    make_folder(RESULTS)
    write_durably(FOUND, (json.dumps(found, indent=1) + "\n").encode())


def counted(weights: str) -> dict[str, dict[str, Any]]:
    """Return the rows that were counted of these weights, by their settings' names."""
    found = json.loads(FOUND.read_bytes()) if FOUND.exists() else {}
    rows = found["rows"] if found.get("weights") == weights else []
    return {named(row["settings"]): row for row in rows}


def books(corpora: Path, trained: TrainedModel) -> tuple[str, str]:
    """Return the books for training and those for validation."""
    folder = corpora / "children_stories"
    corpus = prepare([folder / "stories.txt"])
    if corpus.sha256 != trained.config["corpus"]["sha256"]:
        raise SystemExit("the model was trained on another text")
    parts = split(corpus, "books", index=folder / "stories.index.tsv")
    decode = trained.vocabulary.decode
    train, held_out = (decode(part(corpus.ids, parts[name])[:]) for name in ("train", "validation"))
    return train, held_out


def paragraphs(text: str) -> list[int]:
    """Return where paragraphs begin, TEXTS of them by lot, each with enough text to come."""
    starts = [match.end() for match in re.finditer(r"\n(?=[A-Z\"“])", text)]
    possible = [start for start in starts if start + PROMPT + LENGTH <= len(text)]
    return random.Random(0).sample(possible, TEXTS)


def written(
    trained: TrainedModel,
    prompts: Sequence[str],
    config: SamplingConfig,
    length: int = LENGTH,
    compute_dtype: torch.dtype = torch.bfloat16,
) -> list[str]:
    """Return what the model writes after the prompts."""
    engine = Engine(trained.model, compute_dtype=compute_dtype)
    ids: list[list[int]] = [[] for _ in prompts]
    boundary = SentenceBoundary.of(trained.vocabulary.itos)
    for n, prompt in enumerate(prompts):
        start = trained.vocabulary.encode(prompt or "\n").tolist()
        request = Request(prompt=start, length=length, sampling=config, sample=n, boundary=boundary)
        engine.add(n, request)
    while len(engine):
        for output in engine.step(1.0):
            ids[output.key] += output.ids  # type: ignore[index]
    return [trained.vocabulary.decode(text) for text in ids]


def figures(texts: Sequence[str], dictionary: Collection[str]) -> dict[str, float]:
    """Return what is counted."""
    return {
        "repetition": repetition(texts),
        "distinct_2": distinct(texts, 2),
        "distinct_3": distinct(texts, 3),
        "unknown_words": 1 - known_words(texts, dictionary),
    }


def best(rows: Sequence[dict[str, Any]], books: dict[str, float]) -> dict[str, Any]:
    """Return the settings that are best in the sense above."""
    fitting = [row for row in rows if row["repetition"] <= books["repetition"]]
    settings: dict[str, Any] = min(fitting, key=lambda row: row["unknown_words"])["settings"]
    return settings


def named(settings: dict[str, Any]) -> str:
    """Return settings in words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in settings.items())


def line(name: str, row: dict[str, Any]) -> str:
    """Return a line of the table."""
    figures = ("repetition", "distinct_2", "distinct_3", "unknown_words")
    return f"| {name} | " + " | ".join(f"{100 * row[figure]:.2f} %" for figure in figures) + " |"


if __name__ == "__main__":
    main()
