"""Measure the model that ships, and write the figures and samples into its card.

python -m experiments.story.card CORPORA

What stands between the marks of src/carousel/artefacts/story.md is replaced. Nothing else should
run meanwhile: the speed is measured too.
"""

# ruff: noqa: T201 - a script that says what it does

import hashlib
import json
import statistics
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from carousel.data.corpus import prepare
from carousel.data.range_view import part
from carousel.data.split import split
from carousel.files import write_durably
from carousel.generation.config import DEFAULT_SAMPLING, SamplingConfig
from carousel.inspection.overlap import longest_overlap, novel_share
from carousel.models.checkpoint import TrainedModel, load_model
from carousel.models.evaluation import evaluate
from carousel.models.loss import bits_per_character
from carousel.models.pretrained import ARTEFACTS, TELLER
from experiments.story.decoding import RESULTS, written

CARD = ARTEFACTS / f"{TELLER}.md"
TEXTS, LENGTH = 100, 1_000  # what is searched for in the books
SAMPLES, SAMPLE = 20, 500  # what is shown
SPEED, TIMES = 5_000, 5  # characters of a text whose time is taken; texts
NGRAM = 20


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) / "children_stories"
    corpus = prepare([folder / "stories.txt"])
    parts = split(corpus, "books", index=folder / "stories.index.tsv")
    trained = load_model(ARTEFACTS / TELLER)
    ids = {name: part(corpus.ids, ranges) for name, ranges in parts.items()}
    once = replace(DEFAULT_SAMPLING, candidates=1)
    speeds = [
        f"{characters_per_second(trained, config, compute_dtype):,.0f}"
        for config in (DEFAULT_SAMPLING, once)
        for compute_dtype in (torch.bfloat16, torch.float32)
    ]
    losses = {name: evaluate(trained.model, ids[name]) for name in ("validation", "test")}
    texts = [
        trained.vocabulary.encode(text)
        for text in written(trained, [""] * TEXTS, DEFAULT_SAMPLING, LENGTH)
    ]
    known = np.asarray(ids["train"][:])
    held_out = np.asarray(ids["validation"][:])[: TEXTS * LENGTH]
    overlap = longest_overlap(texts, known)
    run = texts[overlap.text][overlap.start : overlap.start + overlap.length]
    theirs = [held_out[i : i + LENGTH] for i in range(0, len(held_out), LENGTH)]
    weights = (ARTEFACTS / TELLER / "model.safetensors").read_bytes()
    size = sum(path.stat().st_size for path in (ARTEFACTS / TELLER).iterdir())
    parameters = sum(p.numel() for p in trained.model.parameters())
    figures = {
        "size": f"{size:,} bytes, {parameters:,} parameters",
        "SHA-256 of its weights": f"`{hashlib.sha256(weights).hexdigest()}`",
        **{
            f"{name} books": f"{loss:.4f} nats, {bits_per_character(loss):.4f} bits a character"
            for name, loss in losses.items()
            if loss is not None
        },
        "speed, one text on one core, as it draws by default": (
            f"{speeds[0]} characters a second; in float32 {speeds[1]}"
        ),
        "the same, each character drawn once": (
            f"{speeds[2]} characters a second; in float32 {speeds[3]}"
        ),
        f"longest run of its own {TEXTS * LENGTH:,} characters that stands in the training books": (
            f"{overlap.length} characters: {trained.vocabulary.decode(run)!r}"
        ),
        f"the same of {TEXTS * LENGTH:,} characters of the validation books": (
            f"{longest_overlap(theirs, known).length} characters"
        ),
        f"share of {NGRAM}-grams that do not stand in the training books": (
            f"{novel_share(texts, known, NGRAM):.1%}; of the validation books "
            f"{novel_share(theirs, known, NGRAM):.1%}"
        ),
    }
    write_card(figures, samples(trained))
    print(json.dumps(figures, indent=1, ensure_ascii=False))


def characters_per_second(
    trained: TrainedModel, config: SamplingConfig, compute_dtype: torch.dtype
) -> float:
    """Return how fast one text is written, the kernels compiled before; the median of several."""
    written(trained, [""], config, 100, compute_dtype)
    rates = []
    for seed in range(TIMES):
        start = time.perf_counter()
        written(trained, [""], replace(config, seed=seed), SPEED, compute_dtype)
        rates.append(SPEED / (time.perf_counter() - start))
    return statistics.median(rates)


def samples(trained: TrainedModel) -> str:
    """Return what `carousel sample --precision float32` prints, as the card shows it."""
    blocks = [
        "\n".join(
            textwrap.fill(line, 100, drop_whitespace=True) for line in text.strip().split("\n")
        )
        for text in written(trained, [""] * SAMPLES, DEFAULT_SAMPLING, SAMPLE, torch.float32)
    ]
    return "\n\n".join(
        f"{number}\n\n```text\n{block}\n```" for number, block in enumerate(blocks, 1)
    )


def write_card(figures: dict[str, str], texts: str) -> None:
    """Put both between their boundary."""
    best = json.loads((RESULTS / "decoding.json").read_bytes())
    rows = [("the validation books", best["books"]), ("the default", default_row(best))]
    names = list(best["books"])
    decoding = "\n".join(
        [
            "| | " + " | ".join(name.replace("_", " ") for name in names) + " |",
            "|---|" + "--:|" * len(names),
            *(
                f"| {name} | " + " | ".join(f"{row[n]:.2%}" for n in names) + " |"
                for name, row in rows
            ),
        ]
    )
    table = "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in figures.items())])
    text = CARD.read_text("utf-8")
    for mark, content in (("figures", table), ("decoding", decoding), ("samples", texts)):
        begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        before, rest = text.split(begin)
        text = before + begin + "\n" + content + "\n" + end + rest.split(end)[1]
    write_durably(CARD, text.encode())


def default_row(found: dict[str, Any]) -> dict[str, float]:
    """Return what was counted under the default settings."""
    (row,) = (row for row in found["rows"] if SamplingConfig(**row["settings"]) == DEFAULT_SAMPLING)
    return row  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
