"""`carousel prepare`: a text ready for training, ahead of time; and what the cache keeps."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from carousel.cli.console import clock, console, duration
from carousel.cli.parse import parse
from carousel.cli.terminal import one_line
from carousel.data.reading import Reading
from carousel.errors import UsageError
from carousel.files import user_cache_folder
from carousel.json_text import dump_json

if TYPE_CHECKING:
    from carousel.data.corpus import Corpus


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Turn a text into what training reads, and keep it; or see to what is kept.

    Training does this by itself, the first time that it meets a text.

    Attributes:
        corpus: Text files (.gz and .zst are unpacked), folders of them, and - for stdin.
        list: Show what is kept.
        clear: Delete what is kept; texts in use stay.
        json: Print JSON.
        cache_dir: Where prepared texts are kept. Default: CAROUSEL_CACHE, else the user's cache
            folder.
    """

    corpus: tyro.conf.Positional[tuple[Path, ...]] = ()
    list: bool = False
    clear: bool = False
    json: bool = False
    cache_dir: Path | None = None
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        """Check that the arguments go together."""
        if bool(self.corpus) + self.list + self.clear != 1:
            raise UsageError("name a text to prepare, or give --list or --clear: one of the three")


def main(arguments: list[str]) -> int:
    """Prepare, list or clear, and return the exit code."""
    command = parse(Prepare, arguments, prog="carousel prepare")
    cache = command.cache_dir or user_cache_folder()
    if command.list:
        _list(cache, as_json=command.json)
    elif command.clear:
        _clear(cache, as_json=command.json)
    else:
        _prepare(command, cache)
    return 0


def _prepare(command: Prepare, cache: Path) -> None:
    from carousel.cli.text_source import prepare_shown, warn_of_control_characters

    before = clock()
    corpus, was_kept = prepare_shown(command.corpus, command.reading, cache)
    facts = _facts(corpus) | {"seconds": round(clock() - before, 3), "from_cache": was_kept}
    warn_of_control_characters(corpus)
    if command.json:
        print(dump_json(facts))
        return
    from carousel.data.cache import in_bytes

    took = duration(facts["seconds"]) if facts["seconds"] >= 2 else f"{facts['seconds']:.1f} s"
    lines = {
        "name": facts["name"],
        "characters": f"{facts['characters']:,}, {facts['symbols']:,} different",
        "ids": facts["ids"],
        "documents": f"{facts['documents']:,}",
        "sha256": facts["sha256"],
        "folder": f"{facts['folder']} ({in_bytes(facts['bytes'])})",
        "time": f"{took}{', from the cache' if was_kept else ''}",
    }
    for name, text in lines.items():
        print(f"{name:<12}{one_line(text)}")


def _facts(corpus: "Corpus") -> dict[str, Any]:
    from carousel.data.cache import size_on_disk

    assert corpus.folder is not None, "files are always kept in the cache"
    return {
        "name": corpus.name,
        "characters": len(corpus),
        "symbols": len(corpus.vocabulary),
        "ids": str(corpus.ids.dtype),
        "documents": len(corpus.fingerprints),
        "sha256": corpus.sha256,
        "folder": str(corpus.folder),
        "bytes": size_on_disk(corpus.folder),
    }


def _list(cache: Path, *, as_json: bool) -> None:
    """Print a line for each text that is kept, the largest first."""
    from carousel.data.cache import in_bytes, kept

    texts = kept(cache)
    if as_json:
        table = [
            (each.summary._asdict() if each.summary else {})
            | {"bytes": each.size, "folder": str(each.folder)}
            for each in texts
        ]
        print(dump_json(table))
        return
    if not texts:
        console.print_line(f"no text is kept in {cache}")
    for each in texts:
        said = "damaged, or of another version of carousel"
        if each.summary:
            said = f"{each.summary.characters:>14,} characters {each.summary.symbols:>6,} different"
        name = one_line(each.summary.name) if each.summary else "?"
        where = one_line(str(each.folder))
        print(f"{one_line(name):<24} {said:<42} {in_bytes(each.size):>11}  {where}")


def _clear(cache: Path, *, as_json: bool) -> None:
    """Delete what is kept, and say how much room that made."""
    from carousel.data.cache import clear, in_bytes, lock_of
    from carousel.locks import is_lock

    freed, removed, skipped = clear(cache)
    if as_json:
        folders = {"removed": removed, "skipped": skipped}
        table = {key: [str(path) for path in paths] for key, paths in folders.items()}
        print(dump_json({"freed": freed, **table}))
        return
    for folder in skipped:
        lock = lock_of(folder)
        is_sound = is_lock(lock) or not os.path.lexists(lock)
        why = "it is in use" if is_sound else f"{lock} is no lock file of Carousel"
        console.print_line(f"skipped {folder}: {why}", style="yellow")
    texts = f"{len(removed)} text{'s' * (len(removed) != 1)}"
    print(f"{in_bytes(freed)} freed: {texts} deleted from {cache}")
