"""`carousel eval`: how well a trained model predicts a text."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.progress import TaskID

from carousel.cli.console import can_redraw, console, use_available_processors
from carousel.cli.parse import parse
from carousel.cli.progress import VisibleProgress
from carousel.cli.runs import find_run
from carousel.data.reading import Reading
from carousel.data.vocabulary import OnUnknown
from carousel.errors import RunError, UsageError
from carousel.json_text import dump_json


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Measure a model's loss on a text, its state carried from the first character to the last.

    Attributes:
        run: Folder of a run (its best checkpoint) or of a checkpoint; or story, which ships.
        corpus: Text files (.gz and .zst are unpacked), folders of them, and - for stdin. Default:
            the built-in tales, for a model that was trained on them.
        part: Of the text that the model was trained on, one part of its split alone.
        index: Where the index of its books is now, if --part is asked for and it was moved.
        on_unknown: What to do with characters that the model does not know: "error" names the
            first, "skip" leaves them out, "replace" puts the first of U+FFFD, ? and space that
            the model knows.
        lanes: Read the text in this many pieces side by side, each from a zero state: quicker,
            and a little worse than 1, which carries the state through the whole text.
        json: Print one JSON object.
        cache_dir: Where prepared texts are kept. Default: CAROUSEL_CACHE, else the user's cache
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
    from carousel.cli.text_source import open_source
    from carousel.models.checkpoint import load_model
    from carousel.training.text_evaluation import evaluate_source, text_of

    use_available_processors()
    trained = load_model(find_run(command.run))
    about = text_of(trained)
    if not command.corpus and about is None:
        raise RunError(f"{command.run} does not say on which text it was trained: name one")
    if not command.corpus and about is not None and about["name"] != "tales":
        raise RunError(f"{command.run} was trained on a text of its own: name one to evaluate on")
    source = open_source(command.corpus, command.reading, command.cache_dir)
    progress = VisibleProgress(console=console, transient=True, disable=not can_redraw(console))
    tasks: list[TaskID] = []

    def proceed(done: int, total: int) -> bool:
        if not tasks:  # what is refused before leaves no trace of a bar
            tasks.append(progress.add_task("evaluating", total=total))
            progress.start()
        progress.update(tasks[0], completed=done)
        return True

    try:
        evaluation = evaluate_source(
            trained,
            source,
            name=str(command.run),
            part=command.part,
            index=command.index,
            on_unknown=command.on_unknown,
            lanes=command.lanes,
            proceed=proceed,
            notify=lambda note: console.print_line(f"note: {note}"),
        )
    finally:
        if tasks:
            progress.stop()
    figures = evaluation.figures()
    if command.json:
        print(dump_json(figures))
        return 0
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        print(f"{name.replace('_', ' '):<34}{shown:>12}")
    return 0
