"""`carousel eval`: how well a trained model predicts a text."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.progress import Progress

from carousel.cli.console import console
from carousel.cli.parse import parse
from carousel.errors import RunError, TextError, UsageError

if TYPE_CHECKING:
    from carousel.cli.text_source import Source
    from carousel.models.checkpoint import TrainedModel
    from carousel.text.vocabulary import Ids


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Measure a model's loss on a text, its state carried from the first character to the last.

    Attributes:
        run: Folder of a run (its best checkpoint) or of a checkpoint.
        corpus: Text files. None: the built-in tales, for a model that was trained on them.
        part: Of the text that the model was trained on, one part of its split alone.
        lanes: Read the text in this many pieces side by side, each from a zero state: quicker,
            and a little worse than 1, which carries the state through the whole text.
        json: Print one JSON object.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    corpus: tyro.conf.Positional[tuple[Path, ...]] = ()
    part: Literal["whole", "train", "validation", "test"] = "whole"
    lanes: int = 1
    json: bool = False


def main(arguments: list[str]) -> int:
    """Evaluate, print the figures to stdout, and return the exit code."""
    command = parse(Eval, arguments, prog="carousel eval")
    if command.lanes < 1:
        raise UsageError(f"--lanes must be at least 1, got {command.lanes}")
    from carousel.cli.text_source import open_source
    from carousel.models.checkpoint import load_model
    from carousel.models.evaluation import evaluate
    from carousel.models.loss import bits_per_character, perplexity

    trained = load_model(command.run)
    if not command.corpus and trained.config["corpus"]["name"] != "tales":
        raise RunError(f"{command.run} was trained on a text of its own: name one to evaluate on")
    source = open_source(command.corpus)
    start, stop = _range(command, trained, source)
    ids = _encode(trained, source)[start:stop]
    if len(ids) < 2:
        raise TextError(
            f"{source.corpus.name} has {len(ids)} characters; it takes 2 to predict one"
        )
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("evaluating", total=len(ids))

        def proceed(done: int) -> bool:
            progress.update(task, completed=done)
            return True

        loss = evaluate(trained.model, ids, lanes=command.lanes, proceed=proceed)
    assert loss is not None, "only proceed could abandon it"
    figures = {
        "nats_per_character": loss,
        "bits_per_character": bits_per_character(loss),
        "perplexity": perplexity(loss),
        "characters": len(ids) - 1,
    }
    floor = source.floor(start, stop) if source.floor else None
    if floor is not None:
        figures["best_possible_nats_per_character"] = floor
    if command.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"{name.replace('_', ' '):<34}{shown:>12}")
    return 0


def _range(command: Eval, trained: "TrainedModel", source: "Source") -> tuple[int, int]:
    """Return where the part that is asked for begins and ends."""
    corpus, own = source.corpus, trained.config["corpus"]
    is_own = corpus.sha256 == own["sha256"]
    if command.part == "whole":
        if is_own:
            parts = " or ".join(f"--part {part}" for part in own["parts"] if part != "train")
            console.print(f"note: the model was trained on most of this text; {parts} was held out")
        return 0, len(corpus)
    if not is_own:
        raise RunError(
            f"--part {command.part} is of the text that the model was trained on "
            f"({own['name']}), and this is another"
        )
    if command.part not in own["parts"]:
        raise RunError(f"the run's split has no {command.part} part; it has {list(own['parts'])}")
    start, stop = own["parts"][command.part]
    return start, stop


def _encode(trained: "TrainedModel", source: "Source") -> "Ids":
    """Translate the corpus's ids into the model's.

    Raises:
        TextError: If the model does not know a character; the message says which and where.
    """
    import numpy as np

    corpus, known = source.corpus, trained.vocabulary.stoi
    if corpus.vocabulary == trained.vocabulary:
        return corpus.ids
    table = np.array([known.get(c, -1) for c in corpus.vocabulary.itos])
    for id_, character in enumerate(corpus.vocabulary.itos):
        if table[id_] < 0:
            position = int(np.argmax(corpus.ids == id_))
            raise TextError(
                f"the model does not know {character!r} (U+{ord(character):04X}), "
                f"at position {position:,} of {corpus.name}"
            )
    return table[corpus.ids].astype(trained.vocabulary.dtype)
