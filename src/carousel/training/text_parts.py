"""The parts of a text as commands use them: made from settings, recorded, made again, judged."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from carousel.data.corpus import Corpus
from carousel.data.default_prompt import opening
from carousel.data.duplicates import Repeated
from carousel.data.range_view import Ranges, total
from carousel.data.split import Split, sha256, split
from carousel.errors import RunError, TextError
from carousel.training.config import DataConfig, run_config
from carousel.training.text_source import Source

BEGINNING = 2**20  # characters of a text: enough to see how its stories begin


def make_parts(corpus: Corpus, data: DataConfig) -> Split:
    """Split a text as the settings say.

    Raises:
        ConfigError: If they make no sense together.
        TextError: If a part would be empty, or the index is wrong.
    """
    index = None if data.index is None else Path(data.index)
    return split(corpus, data.split, data.parts, seed=data.split_seed, index=index)


def make_again(corpus: Corpus, config: Mapping[str, Any], index: Path | None) -> Split:
    """Split a text as a run did, from its config.json.

    Args:
        corpus: The text of the run.
        config: Of the run.
        index: Where its index of books stands now; None: where it was.

    Raises:
        RunError: If other parts come out, because the index is not what it was.
        TextError: If the index is gone, or wrong.
    """
    data = run_config(("config.json", config["settings"])).data
    if index is not None:
        data = replace(data, index=str(index))
    elif data.index is not None and not Path(data.index).is_file():
        raise TextError(f"no index of books at {data.index} any more: --index says where it is")
    parts = make_parts(corpus, data)
    if sha256(parts) != config["corpus"]["split_sha256"]:
        reason = "" if data.index is None else f": {data.index} is not the index of then"
        raise RunError(
            f"the parts of {corpus.name} are not those that the model was trained and judged on"
            f"{reason}"
        )
    return parts


def opening_words(corpus: Corpus) -> str:
    """Return the words that a text begins with."""
    return opening(corpus.vocabulary.decode(corpus.ids[:BEGINNING]))


def describe(corpus: Corpus, parts: Split, repeated: Sequence[Repeated]) -> dict[str, Any]:
    """Return what config.json says of a text and its parts, sizes in characters."""
    return {
        "name": corpus.name,
        "sha256": corpus.sha256,
        "opening": opening_words(corpus),
        "characters": len(corpus),
        "parts": {name: total(ranges) for name, ranges in parts.items()},
        "split_sha256": sha256(parts),
        "repeated": {
            each.part: {"documents": each.documents, "characters": each.characters}
            for each in repeated
        },
    }


def describe_repeated(repeated: Sequence[Repeated]) -> str | None:
    """Return one line on the documents that stand in two parts; None if there are none."""
    if not repeated:
        return None
    counts = ", ".join(
        f"{each.documents:,} of {each.of:,} {each.part} documents ({each.characters:,} characters) "
        f"also stand{'s' * (each.documents == 1)} in the {' or '.join(each.others)} part"
        for each in repeated
    )
    first = repeated[0]
    line = first.first_line if len(first.first_line) <= 40 else f"{first.first_line[:39]}…"
    return f"{counts}; the first: {line!r} at {first.position:,} and at {first.position_there:,}"


def floor_of(source: Source, ranges: Ranges) -> float | None:
    """Return the least loss that any model can reach on these ranges, in nats per character.

    None where nobody knows it: in texts of the user's, and where a range cuts through a tale.
    """
    if source.floor is None:
        return None
    nats = 0.0
    for start, stop in ranges.tolist():
        floor = source.floor(start, stop)
        if floor is None:
            return None
        nats += floor * (stop - start)
    return nats / total(ranges)
