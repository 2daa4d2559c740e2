"""`carousel.train` and `carousel.load`: from a text or a folder to a `TextModel`.

Nothing here prints, but for the bar of `progress=True`. Notes go to the logger "carousel", warnings
through `warnings`.
"""

import inspect
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from carousel.data.reading import Reading
from carousel.errors import CarouselWarning, ConfigError, python_words
from carousel.generation.opening_sample import opening_sample
from carousel.interrupts import interruptible, not_interruptible
from carousel.models.checkpoint import load_model
from carousel.models.config import ModelConfig
from carousel.progress_bar import ProgressBar
from carousel.text_model import TextModel
from carousel.threads import one_thread
from carousel.training.config import DataConfig, RunConfig, TrainingConfig
from carousel.training.devices import choose_device
from carousel.training.fit import End
from carousel.training.keyword_settings import Settings, make_settings
from carousel.training.metrics import read_metrics
from carousel.training.prepared_run import Notice, Started
from carousel.training.run_events import AnyPath, RunEvent, as_path, find_model, run
from carousel.training.text_parts import opening_words
from carousel.training.trainer import StepReport

_log = logging.getLogger("carousel")
SAMPLE_LENGTH = 240  # characters of a sample that is written while a model learns


def train(
    *paths: AnyPath,
    text: str | None = None,
    out: AnyPath | None = None,
    resume: bool | AnyPath = False,
    init_from: AnyPath | None = None,
    progress: bool | Callable[[RunEvent], object] = False,
    model: str | ModelConfig | None = None,
    training: TrainingConfig | None = None,
    data: DataConfig | None = None,
    reading: Reading | None = None,
    config: RunConfig | AnyPath | None = None,
    preset: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    cache_dir: AnyPath | None = None,
    **settings: Any,
) -> TextModel:
    """Train a character-level language model on a text, and return the best of its checkpoints.

    The same text, settings and seed give the weights of `carousel train`, to the bit. torch's
    random generators and its number of threads are left as they were.

    Without `out` nothing stays on the disk. With it, Ctrl-C saves the present step and raises
    KeyboardInterrupt; a second one does not wait. The same call with `resume=True` goes on from
    there, and computes what the uninterrupted run would have.

    Args:
        paths: Text files (.gz and .zst are unpacked) and folders of them. Without any, and without
            text, the model learns the built-in tales, whose best possible loss is known.
        text: A text at hand, in place of paths.
        out: Folder of the run: new or empty. It gets checkpoints, metrics, samples and the loss
            curve. None: a temporary folder, which is removed.
        resume: True continues the run in out; a folder means that run. Text and settings must be
            as they were, but for steps, eval_every, save_every, sample_every, patience and
            time_limit.
        init_from: Start from the weights and sizes of a trained model: its folder, or "story".
        progress: True shows a bar on stderr; a function is called with every event of
            `carousel.training.run`.
        model: The architecture: "lstm" (the default), "gru", "rnn", "mlp" or "transformer"; or a
            whole `ModelConfig`.
        training: A whole `TrainingConfig`, in place of keywords.
        data: A whole `DataConfig`, in place of keywords.
        reading: A whole `Reading`, in place of keywords.
        config: A whole `RunConfig`, or the path of a TOML file with tables [model], [training] and
            [data].
        preset: Settings to start from: "best" (the default), "story" or "demo".
        device: "cpu", "cuda", "mps", or "auto": CUDA where there is one.
        threads: To compute with; None: as many as the products can feed.
        cache_dir: Where the prepared text is kept. None: the user's cache folder, or without out a
            temporary folder.
        settings: Fields of `ModelConfig`, `TrainingConfig`, `DataConfig` and `Reading`, such as
            hidden_size, steps, seed, learning_rate, dropout, split, encoding. An unknown name is
            refused.

    Returns:
        The model of the best validation loss.

    Raises:
        ConfigError: If a setting is unknown or impossible.
        TextError: If the text cannot be read or is too short.
        RunError: If out is neither new nor empty nor a run to resume.
        DivergenceError: If the loss is no longer finite.
        KeyboardInterrupt: After Ctrl-C; with out, once the present step is saved.

    Example:
        >>> import carousel
        >>> model = carousel.train(text="the cat sat on the mat. " * 200, hidden_size=16, steps=4)
        >>> model.vocabulary.itos
        (' ', '.', 'a', 'c', 'e', 'h', 'm', 'n', 'o', 's', 't')
    """
    with python_words(), ExitStack() as stack:
        folder, is_resumed = _folder(out, resume)
        asked = make_settings(
            settings,
            model=model,
            training=training,
            data=data,
            reading=reading,
            config=config,
            preset=preset,
            base=_sizes_of(init_from),
            arguments=ARGUMENTS,
        )
        _check_samples(asked, folder)
        show = stack.enter_context(_shown(progress))
        interrupt = stack.enter_context(interruptible() if folder else not_interruptible())
        trained: TextModel | None = None
        started: Started | None = None
        words = ""
        events = run(
            asked.run,
            *paths,
            text=text,
            out=folder,
            resume=is_resumed,
            init_from=init_from,
            device=device,
            threads=threads,
            reading=asked.reading,
            cache_dir=cache_dir,
            stop=lambda: interrupt.is_wanted,
        )
        for event in stack.enter_context(closing(events)):
            match event:
                case Notice(kind, message):
                    if kind == "warning":
                        warnings.warn(message, CarouselWarning, stacklevel=2)
                    else:
                        _log.info("%s", message)
                case Started():
                    started, interrupt.at_work = event, True
                    words = opening_words(event.source.corpus)
                case StepReport() if started is not None and folder is not None:
                    _write_sample(started, words, event.step)
                case End() if started is not None and event.ending != "interrupted":
                    trained = _finish(started, draws=folder is not None)
            show(event)
        if trained is None:
            raise KeyboardInterrupt
        return trained


def load(path: AnyPath, *, device: str = "cpu") -> TextModel:
    """Load a trained model.

    Args:
        path: The folder of a run, whose best checkpoint is loaded, or of one checkpoint, or what
            `TextModel.save` made; or "story", the model that ships.
        device: "cpu", "cuda", "mps", or "auto": CUDA where there is one.

    Returns:
        The model.

    Raises:
        CheckpointError: If there is none, or it is damaged; the message names the file.

    Example:
        >>> import carousel
        >>> carousel.load("story")
        TextModel(lstm, hidden_size=560, 86 characters, 3,969,270 parameters)
    """
    with python_words():
        trained = load_model(as_path(path, "path"), device=choose_device(device))
        return TextModel(trained.model, trained.vocabulary, trained.config)


ARGUMENTS = tuple(
    name
    for name, parameter in inspect.signature(train).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)


def _folder(out: AnyPath | None, resume: bool | AnyPath) -> tuple[Path | None, bool]:
    """Return the folder of the run, and whether to resume the run in it.

    Raises:
        ConfigError: If out and resume name different folders, or resume names none.
    """
    folder = None if out is None else as_path(out, "out")
    if isinstance(resume, bool):
        if resume and folder is None:
            raise ConfigError("resume=True needs out: the folder of the run to continue")
        return folder, resume
    named = as_path(resume, "resume")
    if folder is not None and folder != named:
        raise ConfigError(f"resume continues the run in {named}, and out names {folder}")
    return named, True


def _sizes_of(init_from: AnyPath | None) -> tuple[str, dict[str, dict[str, Any]]] | None:
    """Return the [model] settings of the model to start from, and its name."""
    if init_from is None:
        return None
    return str(init_from), {"model": load_model(find_model(init_from)).config["model"]}


def _check_samples(asked: Settings, folder: Path | None) -> None:
    """Refuse samples that would be written nowhere."""
    if asked.run.training.sample_every and folder is None:
        raise ConfigError("sample_every needs out: samples are files in the folder of the run")


@contextmanager
def _shown(
    progress: bool | Callable[[RunEvent], object],
) -> Iterator[Callable[[RunEvent], object]]:
    """Yield the function that is called with every event."""
    if progress is True:
        with ProgressBar() as bar:
            yield bar
    elif callable(progress):
        yield progress
    elif progress is False:
        yield lambda event: None
    else:
        raise ConfigError(f"progress must be True, False or a function, got {progress!r}")


def _write_sample(started: Started, words: str, step: int) -> None:
    """Keep a text that the model writes at this step in the folder of the run, if it is due."""
    trainer = started.trainer
    if not trainer.config.sample_every or step % trainer.config.sample_every:
        return
    trainer.model.eval()
    vocabulary = started.source.corpus.vocabulary
    prompt, pieces = opening_sample(trainer.model, vocabulary, words, SAMPLE_LENGTH)
    with one_thread():
        text = "".join(pieces)
    with _warning_of_the_disk():
        started.folder.write_sample(step, prompt + text)


def _finish(started: Started, *, draws: bool) -> TextModel:
    """Return the best model of a run that has ended, and draw its loss curve where asked."""
    root = started.folder.root
    device = next(started.trainer.model.parameters()).device.type
    trained = load_model(root, device=device)
    if draws:
        from carousel.inspection.curves import loss_curve  # late: matplotlib takes a second

        with _warning_of_the_disk():
            loss_curve(read_metrics(root), root / "loss", floor=started.floor)
    return TextModel(trained.model, trained.vocabulary, trained.config)


@contextmanager
def _warning_of_the_disk() -> Iterator[None]:
    """Log what could not be written, and go on: a run can do without it."""
    try:
        yield
    except OSError as error:
        where = f": {os.fsdecode(error.filename)}" if error.filename else ""
        _log.warning("%s%s", error.strerror or error, where)
