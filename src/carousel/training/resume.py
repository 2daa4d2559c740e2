"""From a run folder back to the trainer that wrote it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from carousel.data.range_view import IdSequence
from carousel.errors import CheckpointError, RunError, shorten
from carousel.models.checkpoint import load_weights, unpack
from carousel.training.config import RunConfig, run_config, to_tables
from carousel.training.fit import Progress
from carousel.training.metrics import read_metrics
from carousel.training.run_folder import RunFolder, step_name
from carousel.training.saved_config import check_best, saved_run
from carousel.training.setup import new_trainer, resolve
from carousel.training.trainer import Trainer, restore

# Settings that may differ when a run goes on: they do not enter into any step before them (an
# index of books may have been moved; what it says is compared as the split that it gives).
_MAY_CHANGE = {
    *("steps", "eval_every", "save_every", "sample_every", "patience", "time_limit"),
    "index",
}


class Resumed(NamedTuple):
    """A run as its newest readable checkpoint left it.

    Attributes:
        trainer: At the checkpoint's step.
        progress: What was known of validations then.
        settings: Resolved, with which the run goes on.
        config: config.json of the checkpoint.
        threads: With which the run computed; None if its config.json does not say.
        faults: What was wrong with newer checkpoints, which are gone now.
    """

    trainer: Trainer
    progress: Progress
    settings: RunConfig
    config: dict[str, Any]
    threads: int | None
    faults: list[str]


def resume(
    folder: RunFolder,
    given: RunConfig,
    *,
    corpus: str,
    ids: IdSequence,
    device: str,
    split: str | None = None,
) -> Resumed | None:
    """Restore a run to its newest readable checkpoint, on disk too; None if it has none.

    Args:
        folder: Of the run; hold its lock.
        given: Settings of the command that resumes.
        corpus: SHA-256 of the command's text.
        ids: Of it, what to train on.
        device: Where to train.
        split: SHA-256 of the parts of the text; None if the caller vouches for them.

    Raises:
        CheckpointError: If there are checkpoints and none can be read, or the newest one that can
            is not as a run writes it; nothing was changed then.
        RunError: If text, settings or parts are not those of the run; nothing was changed then.
    """
    if (newest := folder.newest()) is None:
        return None
    step, files, faults = newest
    checkpoint = folder.checkpoints / step_name(step)
    saved = unpack(files, checkpoint, device=device)
    run = saved_run(saved.config, checkpoint / "config.json", step)
    measured = read_metrics(folder.root, known_to=step)
    check_best(run.progress, measured, checkpoint / "config.json")
    settings = resumed_settings(given, saved.config, corpus, len(ids))
    if split is not None and split != run.split_sha256:
        raise RunError(
            "the run was started on other parts of this text, so the index of its books is not "
            "what it was; resume with the one of then, or start anew with --init-from"
        )
    trainer = new_trainer(settings, len(saved.vocabulary), ids, device)
    load_weights(trainer.model, dict(saved.model.named_parameters()))
    restore(trainer, files)
    if trainer.step != step:
        raise CheckpointError(f"{checkpoint} is of another step: trainer.json says {trainer.step}")
    progress = run.progress
    folder.rewind(step, validated=progress.validated, best=progress.best_step)
    return Resumed(trainer, progress, settings, saved.config, run.threads, faults)


def resumed_settings(
    given: RunConfig, saved: Mapping[str, Any], corpus: str, characters: int
) -> RunConfig:
    """Return the resolved settings with which a saved run goes on.

    Args:
        given: Settings of the command that resumes.
        saved: config.json of the checkpoint, as `saved_run` has checked it.
        corpus: SHA-256 of the command's text.
        characters: Of it, those to train on.

    Raises:
        RunError: If text or settings are not those of the run.
    """
    if saved["corpus"]["sha256"] != corpus:
        raise RunError(
            f"the run was started on another text ({shorten(saved['corpus']['name'])}); "
            "--init-from starts a new run from its weights"
        )
    first = run_config(("config.json", saved["settings"]))
    now, then = to_tables(given), to_tables(first)
    for table in now:
        for name, value in now[table].items():
            if value != then[table][name] and name not in _MAY_CHANGE:
                anew = "in another --out" if table == "model" else "with --init-from"
                raise RunError(
                    f"the run was started with {name} = {_said(then[table][name])}, "
                    f"this command says {_said(value)}; "
                    f"resume with the same settings, or start anew {anew}"
                )
    steps = given.training.steps
    if steps in (None, first.training.steps):  # which a time limit may have shortened since
        steps = saved["training"]["steps"]
    return resolve(replace(given, training=replace(given.training, steps=steps)), characters)


def _said(value: Any) -> str:
    return "its default" if value is None else str(value)
