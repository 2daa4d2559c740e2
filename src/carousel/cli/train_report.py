"""What `carousel train` prints before it begins and after it ends."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from carousel.cli.console import (
    console,
    duration,
    nats,
    one_thread,
    peak_memory,
    rows,
    shell_word,
    this_command,
)
from carousel.cli.terminal import one_line
from carousel.cli.train_command import Train
from carousel.cli.train_display import Display
from carousel.data.default_prompt import opening_of
from carousel.data.range_view import total
from carousel.generation.opening_sample import opening_sample
from carousel.inspection.curves import loss_curve
from carousel.models.checkpoint import load_model
from carousel.models.loss import perplexity
from carousel.models.pretrained import TELLER
from carousel.training.config import TrainingConfig
from carousel.training.fit import End, Progress
from carousel.training.prepared_run import Notice, Started
from carousel.training.run_folder import RunFolder, read_metrics

BY_HEART = 0.05  # nats by which a loss has to rise, to be no matter of chance


_STYLES = {"warning": "yellow", "resumed": "bold"}


def show_event(event: Notice | Started) -> None:
    """Print a notice, or the plan of a run."""
    if isinstance(event, Started):
        announce(event)
        return
    head = f"{event.kind}: " if event.kind in ("note", "warning") else ""
    console.print_line(f"{head}{event.message}", style=_STYLES.get(event.kind))


def announce(plan: Started) -> None:
    """Print the plan and the estimate before anything takes long."""
    source, parts, trainer, path = plan.source, plan.parts, plan.trainer, plan.folder.path
    corpus, model, settings = source.corpus, plan.settings.model, trainer.config
    seconds = plan.seconds_per_step
    sizes = {name: total(ranges) for name, ranges in parts.items()}
    left = max(0, trainer.steps - trainer.step)
    threads = torch.get_num_threads()
    device = next(trainer.model.parameters()).device.type
    parameters = sum(p.numel() for p in trainer.model.parameters())
    rows(
        {
            "text": f"{corpus.name}: {len(corpus):,} characters, {len(corpus.vocabulary)} different"
            + (" (a story grammar of known entropy)" if source.floor else ""),
            "split": ", ".join(f"{size:,} {name}" for name, size in sizes.items()),
            "model": f"{model.model}{f' ({model.variant})' if model.variant else ''}, "
            f"embedding {model.embedding_size}, hidden "
            f"{model.hidden_size}, layers {model.num_layers}"
            + (f", context {model.context}" if model.context else "")
            + f": {parameters:,} parameters",
            "steps": f"{trainer.steps:,} of {settings.batch_size} × {settings.sequence_length} "
            f"characters ({settings.batching}), {_rule(settings)} {settings.schedule}; "
            f"an epoch is {trainer.batches.characters_per_epoch:,} characters",
            "device": f"{device}, {threads} thread{'s' * (threads > 1)}, {settings.precision}",
            "time": f"about {duration(1.1 * left * seconds)} ({seconds:.3f} s a step)"
            if left
            else f"none: the run stands at step {trainer.step:,}; a larger --steps goes on",
            "run": str(path),
        }
    )


def _rule(settings: TrainingConfig) -> str:
    """Return the update rule and its peak step size; with Muon those of both rules."""
    if settings.optimizer == "muon":
        return f"muon {settings.muon_learning_rate:g} and adamw {settings.peak:g}"
    return f"{settings.optimizer} {settings.peak:g}"


def sum_up(
    train: Train,
    folder: RunFolder,
    progress: Progress,
    floor: float | None,
    end: End,
    display: Display,
) -> None:
    """Print the result, a sample of the best model and what to try next; draw the loss curve."""
    command, path, root = this_command(), folder.path, folder.root
    with warning_of_the_disk():
        loss_curve(read_metrics(root), root / "loss", floor=floor)
    memory = peak_memory()
    done = f"{end.ending}: step {end.step:,}"
    if display.done:
        done += f", {display.speed:,.0f} characters/s"
    if memory is not None:
        done += f", peak memory {memory / 2**20:,.0f} MiB"
    console.print(f"\n{done}", style="bold")
    if progress.best_loss is not None:
        best_loss = (
            f"validation {nats(progress.best_loss)} per character, "
            f"perplexity {perplexity(progress.best_loss):.2f}, at step {progress.best_step:,}"
        )
        rows({"best": best_loss})
        if floor is not None:
            above = progress.best_loss - floor
            rows(
                {
                    "floor": f"{nats(floor)}: the entropy of the source, the best possible loss",
                    "gap": f"the model is {above:.4f} nats above the floor",
                }
            )
    if knows_by_heart(progress):
        rows({"advice": advice(train, progress.best_step)})
    rows({"curve": f"{path / 'loss.png'}, {path / 'loss.svg'}"})
    best = load_model(root)
    words = opening_of(best.config, best.vocabulary)
    prompt, text = opening_sample(best.model, best.vocabulary, words, 500)
    console.print()
    sys.stdout.write(prompt)
    with one_thread():
        for piece in text:
            sys.stdout.write(piece)
            sys.stdout.flush()
    print()
    console.print("\ntry next", style="bold")
    begin = f" {_flag(prompt)}" if prompt else ""
    if best.model.max_length is not None:
        begin = f" --length {best.model.max_length}"
    name = str(path if path.exists() else root)  # as typed, unless the system finds nothing there
    suggestions = [
        f"{command} sample {shell_word(name)}{begin}",
        f"{command} serve {shell_word(name)}",
    ]
    if floor is not None:  # these were the tales
        suggestions.append(f"{command} train a-text-of-your-own.txt")
    for line in suggestions:
        console.print_line(f"  {line}")


def knows_by_heart(progress: Progress) -> bool:
    """Return whether a run became clearly worse on what it did not read, long before it ended."""
    if progress.loss is None or progress.best_loss is None:
        return False
    is_early = 2 * progress.best_step <= progress.validated
    return is_early and progress.loss > progress.best_loss + BY_HEART


def advice(train: Train, best_step: int) -> str:
    """Return advice for a text that is small for its model."""
    tries = [f"--steps {2 * best_step}"]  # the rate is small when it matters
    if not train.model.dropout:
        tries.insert(0, "--dropout 0.4")
    if train.init_from is None:
        tries.insert(0, f"--init-from {TELLER} if it is English")
    return f"after step {best_step:,} it learned its text by heart; try {' or '.join(tries)}"


def _flag(prompt: str) -> str:
    """Return --prompt as it is to be typed; in most shells, where that is possible."""
    if re.fullmatch(r"\w[\w ,.:;?'-]*", prompt):
        return f'--prompt "{prompt}"'
    return f"--prompt={shell_word(prompt)}"


@contextmanager
def warning_of_the_disk() -> Iterator[None]:
    """Say that something could not be written, and go on: what is made here, a run can do without.

    A disk that refuses a checkpoint as well is an error soon enough.
    """
    try:
        yield
    except OSError as error:
        where = f": {one_line(os.fsdecode(error.filename))}" if error.filename else ""
        message = f"warning: {error.strerror or error}{where}"
        console.print_line(message, style="yellow")
