"""Are its sentences sentences? A sheet for a reader who does not know whose they are.

python -m experiments.story.reading CORPORA SHEET          # writes SHEET, and SHEET.key.json
python -m experiments.story.reading CORPORA SHEET --judged FILE

The model goes on from the beginnings of paragraphs of the validation books, once under each
setting; the fourth sentence that follows is taken, the books' own too, and all are shuffled. The
reader writes a JSON list, a number for each: 2, a clear sentence of an old tale; 1, it slips
somewhere; 0, broken. With --judged a table is printed, how often each was given to whom, and added
to experiments/story/results/reading.json.
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from carousel.cli.runs import find_run
from carousel.files import make_folder, write_durably
from carousel.models.checkpoint import load_model
from carousel.sampling.config import SamplingConfig
from carousel.sampling.marks import Marks
from experiments.story.decoding import PROMPT, RESULTS, books, named, paragraphs, written

EACH, LENGTH = 40, 700  # sentences of each setting; characters that are written for one
WHICH, SHORTEST = 3, 15  # the sentence that is taken, from 0; characters of what counts as one
BOOKS = "the validation books"
SETTINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 0.8, "top_p": 0.95},
    {"temperature": 0.5},
    {"temperature": 0.6, "top_p": 0.9},
    {"temperature": 0.6, "candidates": 4},
    {"temperature": 0.7, "candidates": 6},
)  # each repeats itself no more than the books do, by decoding.py


def main() -> None:
    """Write the sheet, or count what the reader gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--run", type=Path, default=Path("story"))
    parser.add_argument("--judged", type=Path)
    asked = parser.parse_args()
    key = asked.sheet.with_name(asked.sheet.name + ".key.json")
    if asked.judged is None:
        rows = sentences(asked.corpora, asked.run)
        random.Random(1).shuffle(rows)
        lines = [f"{number}. {sentence}\n" for number, (_, sentence) in enumerate(rows, 1)]
        asked.sheet.write_text("".join(lines), "utf-8")
        key.write_text(json.dumps([whose for whose, _ in rows]), "utf-8")
        return
    table = counted(json.loads(key.read_bytes()), json.loads(asked.judged.read_bytes()))
    for whose, (clear, slips, broken) in table.items():
        print(f"| {whose} | {clear} | {slips} | {broken} |")
    make_folder(RESULTS)
    write_durably(RESULTS / "reading.json", (json.dumps(table, indent=1) + "\n").encode())


def sentences(corpora: Path, run: Path) -> list[tuple[str, str]]:
    """Return sentences, and whose they are."""
    trained = load_model(find_run(run))
    _, held_out = books(corpora, trained)
    places = paragraphs(held_out)[:EACH]
    starts = [place + PROMPT for place in places]
    prompts = [held_out[start - PROMPT : start] for start in starts]
    texts = {BOOKS: [held_out[start : start + LENGTH] for start in starts]}
    for settings in SETTINGS:
        texts[named(settings)] = written(trained, prompts, SamplingConfig(**settings), LENGTH)
    return [(whose, taken(text)) for whose, every in texts.items() for text in every]


def taken(text: str) -> str:
    """Return one sentence of a text, on one line."""
    characters = sorted({*text})
    marks, ids = Marks.of(characters), [characters.index(c) for c in text]
    found, start = [], 0
    for end in range(1, len(ids) + 1):
        if marks.end(ids[start:end]):
            found.append(text[start:end].strip())
            start = end
    long = [sentence for sentence in found if len(sentence) > SHORTEST]
    return long[min(WHICH, len(long) - 1)]


def counted(key: Sequence[str], judged: Sequence[int]) -> dict[str, tuple[int, int, int]]:
    """Return how many were clear, slipped and were broken, of whom."""
    if len(key) != len(judged):
        raise SystemExit(f"{len(judged)} numbers for {len(key)} sentences")
    given: dict[str, list[int]] = {whose: [] for whose in (BOOKS, *map(named, SETTINGS))}
    for whose, number in zip(key, judged, strict=True):
        given[whose].append(number)
    return {whose: (n.count(2), n.count(1), n.count(0)) for whose, n in given.items()}


if __name__ == "__main__":
    main()
