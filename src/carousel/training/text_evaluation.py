"""How well a trained model predicts a text, or a part of the text that it was trained on."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from carousel.data import range_view
from carousel.data.corpus import Corpus
from carousel.data.range_view import IdSequence, Ranges
from carousel.data.vocabulary import Ids, OnUnknown
from carousel.errors import CheckpointError, RunError, TextError, shorten
from carousel.models.checkpoint import TrainedModel
from carousel.models.evaluation import evaluate
from carousel.models.loss import bits_per_character, perplexity
from carousel.training.text_parts import floor_of, make_again
from carousel.training.text_source import Source

Part = Literal["whole", "train", "validation", "test"]


class Evaluation(NamedTuple):
    """The loss of a model on a text.

    Attributes:
        loss: In nats per character.
        characters: Predicted: all but the first.
        floor: The least loss that any model can reach, where it is known.
    """

    loss: float
    characters: int
    floor: float | None

    def figures(self) -> dict[str, float | int]:
        """Return the loss in the units that people report, by name."""
        figures: dict[str, float | int] = {
            "nats_per_character": self.loss,
            "bits_per_character": bits_per_character(self.loss),
            "perplexity": perplexity(self.loss),
            "characters": self.characters,
        }
        if self.floor is not None:
            figures["best_possible_nats_per_character"] = self.floor
        return figures


def evaluate_source(
    trained: TrainedModel,
    source: Source,
    *,
    name: str,
    part: Part = "whole",
    index: Path | None = None,
    on_unknown: OnUnknown = "error",
    lanes: int = 1,
    proceed: Callable[[int, int], bool] = lambda done, total: True,
    notify: Callable[[str], None] = lambda note: None,
) -> Evaluation:
    """Measure the loss on a text, the state carried from the first character to the last.

    Args:
        trained: The model.
        source: The text.
        name: What messages call the model.
        part: Of the text that the model was trained on, one part of its split alone.
        index: Where the index of its books is now, if it was moved.
        on_unknown: What to do with characters that the model does not know.
        lanes: The text is read in this many pieces side by side, each from the zero state.
        proceed: Told the number of characters done and of all, after each call of the model.
        notify: Called with one line on what the user should know.

    Raises:
        RunError: If the part is not one of the text that the model was trained on.
        TextError: If the text is too short, or has characters that the model does not know.
        CheckpointError: If the loss is not finite.
    """
    ranges = _ranges(trained, source.corpus, name, part, index, notify)
    ids: IdSequence
    if part == "whole":
        ids = _encode(trained, source.corpus, on_unknown, notify)
    else:  # of its own text, so there is nothing to translate
        ids = range_view.part(source.corpus.ids, ranges)
    if len(ids) < 2:
        raise TextError(
            f"{source.corpus.name} has {len(ids)} characters; it takes 2 to predict one"
        )
    loss = evaluate(trained.model, ids, lanes=lanes, proceed=lambda done: proceed(done, len(ids)))
    assert loss is not None, "only proceed could abandon it"
    if not math.isfinite(loss):
        raise CheckpointError(
            f"{trained.folder} predicts nothing: the loss on {source.corpus.name} is {loss}, "
            "so its weights are damaged or training diverged; an earlier checkpoint would work"
        )
    return Evaluation(loss, len(ids) - 1, floor_of(source, ranges))


def text_of(trained: TrainedModel) -> dict[str, Any] | None:
    """Return what config.json says of the text of a model; None if that is not what runs write."""
    about = trained.config.get("corpus")
    if not isinstance(about, dict) or not isinstance(trained.config.get("settings"), dict):
        return None
    kinds = {"name": str, "sha256": str, "split_sha256": str, "parts": dict}
    return about if all(isinstance(about.get(k), kind) for k, kind in kinds.items()) else None


def _ranges(
    trained: TrainedModel,
    corpus: Corpus,
    name: str,
    part: Part,
    index: Path | None,
    notify: Callable[[str], None],
) -> Ranges:
    """Return where the part that is asked for stands."""
    own = text_of(trained)
    if own is None and part == "whole":
        return np.array([[0, len(corpus)]])
    if own is None:
        raise RunError(
            f"{name} does not say how the text that it was trained on was split: without "
            f"--part {part} it is judged on all of the text that you name"
        )
    is_own = corpus.sha256 == own["sha256"]
    if part == "whole":
        if is_own:
            parts = " or ".join(f"--part {each}" for each in own["parts"] if each != "train")
            notify(f"the model was trained on most of this text; {parts} was held out")
        return np.array([[0, len(corpus)]])
    if not is_own:
        raise RunError(
            f"--part {part} is of the text that the model was trained on "
            f"({shorten(own['name'])}), and this is another"
        )
    if part not in own["parts"]:
        parts = shorten(list(own["parts"]))
        raise RunError(f"the run's split has no {part} part; it has {parts}")
    return make_again(corpus, trained.config, index)[part]


def _encode(
    trained: TrainedModel,
    corpus: Corpus,
    on_unknown: OnUnknown,
    notify: Callable[[str], None],
) -> Ids:
    """Translate the corpus's ids into the model's, and note what was left out or replaced.

    Raises:
        TextError: If the model does not know a character and that is an error, or nothing can
            replace it; the message says which and where.
    """
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
    notify(
        f"the model does not know {np.count_nonzero(is_unknown):,} of the {len(ids):,} "
        f"characters; they are {fate}"
    )
    return ids[~is_unknown] if on_unknown == "skip" else ids
