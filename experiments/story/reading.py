"""Are its sentences sentences? A sheet for a reader who does not know whose they are.

python -m experiments.story.reading CORPORA SHEET          # writes SHEET, and SHEET.key.json
python -m experiments.story.reading CORPORA SHEET --judged FILE …

The model goes on from the beginnings of paragraphs of the validation books, once under each
setting; the fourth sentence that follows is taken, the books' own too, and all are shuffled. The
reader writes a JSON list, a number for each: 2, a clear sentence of an old tale; 1, it slips
somewhere; 0, broken. With --judged, the lists of all readers, a table is printed and written to
experiments/story/results/reading.json: how often each was given to whom, and to which share of the
characters.
"""

# ruff: noqa: T201 - a script that prints a table

import argparse
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from carousel.files import make_folder, write_durably
from carousel.generation.config import SamplingConfig
from carousel.generation.sentence_boundary import SentenceBoundary
from carousel.models.checkpoint import load_model
from experiments.story.decoding import PROMPT, RESULTS, books, named, paragraphs, written

EACH, LENGTH = 40, 700  # sentences of each setting; characters that are written for one
WHICH, SHORTEST = 3, 15  # its place, from 0; what has no more characters is no sentence
BOOKS = "the validation books"
NAMES = {2: "clear", 1: "slips", 0: "broken"}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 0.6, "top_p": 0.9},
    {"temperature": 0.5, "candidates": 12},
    {"temperature": 0.5, "top_p": 0.95, "candidates": 12},
    {"temperature": 0.6, "candidates": 12},
    {"temperature": 0.6, "top_p": 0.9, "candidates": 12},
)  # by decoding.py, none repeats itself more than the books do, but for the first, by a hair


def main() -> None:
    """Write the sheet, or count what the reader gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--run", type=Path, default=Path("story"))
    parser.add_argument("--judged", type=Path, nargs="+")
    asked = parser.parse_args()
    key = asked.sheet.with_name(asked.sheet.name + ".key.json")
    if asked.judged is None:
        for path in (asked.sheet, key):
            if os.path.lexists(path):
                raise SystemExit(f"{path} is there already; name another sheet")
        taken = sentences(asked.corpora, asked.run)
        random.Random(1).shuffle(taken)
        lines = [f"{number}. {sentence}\n" for number, (_, sentence) in enumerate(taken, 1)]
        answers = json.dumps([(whose, len(sentence)) for whose, sentence in taken])
        for path, text in ((asked.sheet, "".join(lines)), (key, answers)):
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        return
    judged = [json.loads(path.read_bytes()) for path in asked.judged]
    rows = counted(json.loads(key.read_bytes()), judged)
    for row in rows:
        counts = " | ".join(str(row[name]) for name in NAMES.values())
        shares = ", ".join(f"{row[f'{name}_characters']:.0%}" for name in NAMES.values())
        print(f"| {row['whose']} | {counts} | {shares} | {row['mean_length']:.0f} |")
    make_folder(RESULTS)
    found = {"readers": len(judged), "rows": rows}
    write_durably(RESULTS / "reading.json", (json.dumps(found, indent=1) + "\n").encode())


def sentences(corpora: Path, run: Path) -> list[tuple[str, str]]:
    """Return sentences, and whose they are."""
    trained = load_model(run)
    _, held_out = books(corpora, trained)
    places = paragraphs(held_out)[:EACH]
    starts = [place + PROMPT for place in places]
    prompts = [held_out[start - PROMPT : start] for start in starts]
    texts = {BOOKS: [held_out[start : start + LENGTH] for start in starts]}
    for settings in SETTINGS:
        texts[named(settings)] = written(trained, prompts, SamplingConfig(**settings), LENGTH)
    return [(whose, fourth(text)) for whose, every in texts.items() for text in every]


def fourth(text: str) -> str:
    """Return the fourth sentence of a text, or the last if it has fewer."""
    characters = sorted({*text})
    boundary, ids = SentenceBoundary.of(characters), [characters.index(c) for c in text]
    found, start = [], 0
    for end in range(1, len(ids) + 1):
        if boundary.is_end(ids[start:end]):
            found.append(text[start:end].strip())
            start = end
    long = [sentence for sentence in found if len(sentence) > SHORTEST]
    return long[min(WHICH, len(long) - 1)]


def counted(
    key: Sequence[tuple[str, int]], judged: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """Return how many were clear, slipped and were broken, of whom, and how long they are."""
    if wrong := [len(one) for one in judged if len(one) != len(key)]:
        raise SystemExit(f"{wrong[0]} numbers for {len(key)} sentences")
    rows = []
    for whose, settings in ((BOOKS, None), *((named(s), s) for s in SETTINGS)):
        given = [n for one in judged for (w, _), n in zip(key, one, strict=True) if w == whose]
        characters = [length for w, length in key if w == whose]
        lengths = {"mean_length": mean(characters), "median_length": median(characters)}
        counts = {name: given.count(n) for n, name in NAMES.items()}
        shares = {
            f"{name}_characters": sum(
                length
                for one in judged
                for (w, length), m in zip(key, one, strict=True)
                if (w, m) == (whose, n)
            )
            / (len(judged) * sum(characters))
            for n, name in NAMES.items()
        }
        rows.append({"whose": whose, "settings": settings, **counts, **shares, **lengths})
    return rows


if __name__ == "__main__":
    main()
