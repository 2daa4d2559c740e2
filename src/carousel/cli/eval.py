"""`carousel eval`: how well a trained model predicts a text."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from carousel.cli.console import can_redraw, console, use_available_processors
from carousel.cli.json_output import dump_json
from carousel.cli.parse import parse
from carousel.cli.progress import VisibleProgress
from carousel.cli.runs import find_run
from carousel.data.reading import Reading
from carousel.data.vocabulary import OnUnknown
from carousel.errors import CheckpointError, RunError, TextError, UsageError, shorten

if TYPE_CHECKING:
    from carousel.data.corpus import Corpus
    from carousel.data.range_view import Ranges
    from carousel.data.vocabulary import Ids
    from carousel.models.checkpoint import TrainedModel


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Measure a model's loss on a text, its state carried from the first character to the last.

    Attributes:
        run: Folder of a run (its best checkpoint) or of a checkpoint; or story, which ships.
        corpus: Text files (.gz and .zst are unpacked), folders of them, and - for stdin. None: the
            built-in tales, for a model that was trained on them.
        part: Of the text that the model was trained on, one part of its split alone.
        index: Where the index of its books is now, if --part is asked for and it was moved.
        on_unknown: What to do with characters that the model does not know: "error" names the
            first, "skip" leaves them out, "replace" puts the first of U+FFFD, ? and space that
            the model knows.
        lanes: Read the text in this many pieces side by side, each from a zero state: quicker,
            and a little worse than 1, which carries the state through the whole text.
        json: Print one JSON object.
        cache_dir: Where prepared texts are kept. None: CAROUSEL_CACHE, else the user's cache
            folder.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    corpus: tyro.conf.Positional[tuple[Path, ...]] = ()
    part: Literal["whole", "train", "validation", "test"] = "whole"
    index: Path | None = None
    on_unknown: OnUnknown = "error"
    lanes: int = 1
    json: bool = False
    cache_dir: Path | None = None
    reading: Reading = field(default_factory=Reading)


def main(arguments: list[str]) -> int:
    """Evaluate, print the figures to stdout, and return the exit code."""
    command = parse(Eval, arguments, prog="carousel eval")
    if command.lanes < 1:
        raise UsageError(f"--lanes must be at least 1, got {command.lanes}")
    from carousel.cli.parts import floor_of
    from carousel.cli.text_source import open_source
    from carousel.data.range_view import IdSequence, part
    from carousel.models.checkpoint import load_model
    from carousel.models.evaluation import evaluate
    from carousel.models.loss import bits_per_character, perplexity

    use_available_processors()
    trained = load_model(find_run(command.run))
    about = _text_of(trained)
    if not command.corpus and about is None:
        raise RunError(f"{command.run} does not say on which text it was trained: name one")
    if not command.corpus and about is not None and about["name"] != "tales":
        raise RunError(f"{command.run} was trained on a text of its own: name one to evaluate on")
    source = open_source(command.corpus, command.reading, command.cache_dir)
    ranges = _ranges(command, trained, source.corpus)
    ids: IdSequence
    if command.part == "whole":
        ids = _encode(trained, source.corpus, command.on_unknown)
    else:  # of its own text, so there is nothing to translate
        ids = part(source.corpus.ids, ranges)
    if len(ids) < 2:
        raise TextError(
            f"{source.corpus.name} has {len(ids)} characters; it takes 2 to predict one"
        )
    with VisibleProgress(
        console=console, transient=True, disable=not can_redraw(console)
    ) as progress:
        task = progress.add_task("evaluating", total=len(ids))

        def proceed(done: int) -> bool:
            progress.update(task, completed=done)
            return True

        loss = evaluate(trained.model, ids, lanes=command.lanes, proceed=proceed)
    assert loss is not None, "only proceed could abandon it"
    if not math.isfinite(loss):
        raise CheckpointError(
            f"{trained.folder} predicts nothing: the loss on {source.corpus.name} is {loss}, "
            "so its weights are damaged or training diverged; an earlier checkpoint would work"
        )
    figures = {
        "nats_per_character": loss,
        "bits_per_character": bits_per_character(loss),
        "perplexity": perplexity(loss),
        "characters": len(ids) - 1,
    }
    floor = floor_of(source, ranges)
    if floor is not None:
        figures["best_possible_nats_per_character"] = floor
    if command.json:
        print(dump_json(figures))
        return 0
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"{name.replace('_', ' '):<34}{shown:>12}")
    return 0


def _text_of(trained: "TrainedModel") -> "dict[str, Any] | None":
    """Return what config.json says of the text of a model; None if that is not what runs write."""
    about = trained.config.get("corpus")
    if not isinstance(about, dict) or not isinstance(trained.config.get("settings"), dict):
        return None
    kinds = {"name": str, "sha256": str, "split_sha256": str, "parts": dict}
    return about if all(isinstance(about.get(k), kind) for k, kind in kinds.items()) else None


def _ranges(command: Eval, trained: "TrainedModel", corpus: "Corpus") -> "Ranges":
    """Return where the part that is asked for stands."""
    import numpy as np

    from carousel.cli.parts import make_again

    own = _text_of(trained)
    if own is None and command.part == "whole":
        return np.array([[0, len(corpus)]])
    if own is None:
        raise RunError(
            f"{command.run} does not say how the text that it was trained on was split: without "
            f"--part {command.part} it is judged on all of the text that you name"
        )
    is_own = corpus.sha256 == own["sha256"]
    if command.part == "whole":
        if is_own:
            parts = " or ".join(f"--part {part}" for part in own["parts"] if part != "train")
            console.print(f"note: the model was trained on most of this text; {parts} was held out")
        return np.array([[0, len(corpus)]])
    if not is_own:
        raise RunError(
            f"--part {command.part} is of the text that the model was trained on "
            f"({shorten(own['name'])}), and this is another"
        )
    if command.part not in own["parts"]:
        parts = shorten(list(own["parts"]))
        raise RunError(f"the run's split has no {command.part} part; it has {parts}")
    return make_again(corpus, trained.config, command.index)[command.part]


def _encode(trained: "TrainedModel", corpus: "Corpus", on_unknown: OnUnknown) -> "Ids":
    """Translate the corpus's ids into the model's, and note what was left out or replaced.

    Raises:
        TextError: If the model does not know a character and that is an error, or nothing can
            replace it; the message says which and where.
    """
    import numpy as np

    vocabulary, known = trained.vocabulary, trained.vocabulary.stoi
    if corpus.vocabulary == vocabulary:
        return corpus.ids
    stand_in = vocabulary.replacement
    table = np.array([known.get(c, stand_in or 0) for c in corpus.vocabulary.itos])
    ids: Ids = table.astype(vocabulary.dtype)[corpus.ids]
    is_unknown = np.array([c not in known for c in corpus.vocabulary.itos])[corpus.ids]
    if not is_unknown.any():
        return ids
    if on_unknown == "error" or (on_unknown == "replace" and stand_in is None):
        position = int(np.argmax(is_unknown))
        character = corpus.vocabulary.itos[corpus.ids[position]]
        raise TextError(
            f"the model does not know {character!r} (U+{ord(character):04X}), "
            f"at position {position:,} of {corpus.name}"
            + (
                "; --on-unknown skip or replace would take it"
                if on_unknown == "error"
                else ", nor U+FFFD, '?' or ' ', which could replace it"
            )
        )
    fate = "left out"
    if on_unknown == "replace" and stand_in is not None:
        fate = f"replaced by {vocabulary.itos[stand_in]!r}"
    console.print_line(
        f"note: the model does not know {np.count_nonzero(is_unknown):,} of the {len(ids):,} "
        f"characters; they are {fate}",
    )
    return ids[~is_unknown] if on_unknown == "skip" else ids
