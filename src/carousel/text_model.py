"""A trained model as Python users have it: it continues prompts, and judges texts."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from carousel.data.vocabulary import OnUnknown, Vocabulary
from carousel.errors import CheckpointError, python_words
from carousel.generation.batch import continue_batch
from carousel.generation.config import Precision, SamplingConfig
from carousel.generation.generate import continue_text
from carousel.limits import check_integer
from carousel.models.base import LanguageModel
from carousel.models.evaluation import evaluate
from carousel.models.scoring import log_probabilities
from carousel.text_request import (
    as_texts,
    evaluating,
    known_ids,
    known_prompt,
    one_by_one,
    sampling_config,
    save_model,
)
from carousel.threads import kept_threads, one_thread, use_available_processors
from carousel.training.run_events import as_path

if TYPE_CHECKING:
    from torch import nn


class TextModel:
    """A trained character-level language model.

    `carousel.train` and `carousel.load` return it. A character is one Unicode code point; texts and
    prompts are taken as they are, without any normalisation.

    Attributes:
        module: The `torch.nn.Module`: ids (B, T) and a state to logits (B, T, V) and a state.
        vocabulary: The mapping of characters to ids and back: `encode`, `decode`, `itos`, `stoi`.
        config: The content of config.json: settings, text, `config["progress"]["best_loss"]`.

    Example:
        >>> import carousel
        >>> model = carousel.load("story")
        >>> len(model.generate("Once upon a time", length=20, seed=7))
        20
    """

    def __init__(
        self, module: LanguageModel, vocabulary: Vocabulary, config: Mapping[str, Any]
    ) -> None:
        self.module = module
        self.vocabulary = vocabulary
        self.config = dict(config)

    def __repr__(self) -> str:
        model, parameters = self.config.get("model", {}), self.module.parameters()
        return (
            f"TextModel({model.get('model')}, hidden_size={model.get('hidden_size')}, "
            f"{len(self.vocabulary)} characters, {sum(p.numel() for p in parameters):,} parameters)"
        )

    @overload
    def generate(self, prompt: str = ..., *, n: None = ..., **settings: Any) -> str: ...

    @overload
    def generate(self, prompt: str = ..., *, n: int, **settings: Any) -> list[str]: ...

    @overload
    def generate(self, prompt: Sequence[str], *, n: None = ..., **settings: Any) -> list[str]: ...

    @overload
    def generate(self, prompt: Sequence[str], *, n: int, **settings: Any) -> list[list[str]]: ...

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        *,
        length: int | None = None,
        n: int | None = None,
        stop: str | Sequence[str] = (),
        on_unknown: OnUnknown = "error",
        precision: Precision = "bf16",
        sampling: SamplingConfig | None = None,
        **settings: Any,
    ) -> str | list[str] | list[list[str]]:
        r"""Continue a prompt, or several; return the new text, without the prompt.

        The same settings and seed give the text of `carousel sample` and of the server, for a
        prompt alone or in a list. Texts of one seed are independent samples.

        Args:
            prompt: A text, or a list of texts. An empty one begins a line.
            length: Characters to write at most. None: 500, or as far as the model's positions go.
            n: Samples of each prompt, which makes a list of the result; None: one, as a str.
            stop: End a text before the first of these strings that comes up in it.
            on_unknown: What to do with characters of a prompt that the model does not know:
                "error", "skip" (leave them out) or "replace" (by U+FFFD, ? or a space).
            precision: Of the products: "bf16" where the processor multiplies it natively, or
                "float32", which gives the same text on others, too.
            sampling: All settings of the sampling in one object.
            settings: Fields of `SamplingConfig`; the defaults are temperature=0.6, top_k=None,
                top_p=0.9, min_p=0, repetition_penalty=1, candidates=12, seed=0.

        Returns:
            A str; a list of n; for a list of prompts, a list of these.

        Raises:
            ConfigError: If a setting is impossible, or positions end before the text would.
            TextError: If the model does not know a character of the prompt.
            DivergenceError: If the model's weights are not finite numbers.

        Example:
            >>> import carousel
            >>> model = carousel.load("story")
            >>> texts = model.generate(["The king", "The frog"], length=40, n=2, stop="\n")
        """
        with python_words(), evaluating(self.module), one_thread():
            config = sampling_config(sampling, settings, "generate")
            if n is not None:
                check_integer("n", n, at_least=1)
            prompts = [prompt] if isinstance(prompt, str) else as_texts(prompt)
            texts = continue_batch(
                self.module,
                self.vocabulary,
                [known_prompt(self.vocabulary, each, on_unknown) for each in prompts],
                config,
                length=length,
                stop=[stop] if isinstance(stop, str) else stop,
                samples=n or 1,
                precision=precision,
            )
        found = texts if n is not None else [text for (text,) in texts]
        return found[0] if isinstance(prompt, str) else found

    def stream(
        self,
        prompt: str = "",
        *,
        length: int | None = None,
        sample: int = 0,
        stop: str | Sequence[str] = (),
        on_unknown: OnUnknown = "error",
        precision: Precision = "bf16",
        sampling: SamplingConfig | None = None,
        **settings: Any,
    ) -> Iterator[str]:
        """Continue a prompt, and yield the new text in pieces as it is written.

        Joined, the pieces are what `generate` returns for the same arguments. Everything is checked
        before the first piece is asked for.

        Args:
            prompt: One text.
            length: As `generate` takes it.
            sample: The number of the text, 0, 1, …, among the samples of its seed.
            stop: As there.
            on_unknown: As there.
            precision: As there.
            sampling: As there.
            settings: As there.

        Returns:
            An iterator of pieces of one character or more.

        Raises:
            CarouselError: As `generate` does.

        Example:
            >>> import carousel
            >>> model = carousel.load("story")
            >>> "".join(model.stream("The", length=9)) == model.generate("The", length=9)
            True
        """
        with python_words(), evaluating(self.module), one_thread():
            pieces = continue_text(
                self.module,
                self.vocabulary,
                known_prompt(self.vocabulary, prompt, on_unknown),
                sampling_config(sampling, settings, "stream"),
                length=length,
                stop=[stop] if isinstance(stop, str) else stop,
                sample=sample,
                precision=precision,
            )
        return one_by_one(self.module, pieces)

    def loss(self, text: str, *, on_unknown: OnUnknown = "error", lanes: int = 1) -> float:
        """Return the mean loss on a text, in nats per character: the figure of `carousel eval`.

        The state is carried from the first character to the last, which is the only one that
        predicts nothing. Divided by log 2 it is bits per character.

        Args:
            text: At least 2 characters.
            on_unknown: What to do with characters that the model does not know, as in `generate`.
            lanes: Read the text in this many pieces side by side: quicker, a little worse than 1.

        Returns:
            Nats per character.

        Raises:
            TextError: If the text is too short, or has unknown characters.
            CheckpointError: If the loss is not finite.

        Example:
            >>> import carousel
            >>> carousel.load("story").loss("Once upon a time there was a king.") < 2
            True
        """
        with python_words(), kept_threads():
            check_integer("lanes", lanes, at_least=1)
            use_available_processors()
            loss = evaluate(self.module, known_ids(self.vocabulary, text, on_unknown), lanes=lanes)
        assert loss is not None, "nobody abandons it"
        if not np.isfinite(loss):
            raise CheckpointError(f"the model predicts nothing: its loss on this text is {loss}")
        return loss

    def score(self, text: str, *, on_unknown: OnUnknown = "error") -> NDArray[np.float64]:
        """Return the log-probability of each character but the first, in nats.

        Entry i is that of character i + 1 given all before it; minus the mean is `loss(text)`.

        Args:
            text: N characters, at least 2.
            on_unknown: What to do with characters that the model does not know, as in `generate`;
                those that are left out have no entry.

        Returns:
            (N - 1,), float64.

        Raises:
            TextError: If the text is too short, or has unknown characters.

        Example:
            >>> import carousel
            >>> carousel.load("story").score("a king").shape
            (5,)
        """
        with python_words(), evaluating(self.module), kept_threads():
            use_available_processors()
            ids = known_ids(self.vocabulary, text, on_unknown)
            scores: NDArray[np.float64] = log_probabilities(self.module, ids).numpy()
        return scores

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to a new folder, which `carousel.load` and all commands read.

        The folder appears whole or not at all. Nothing that is there is overwritten.

        Args:
            path: The folder to make; folders above it are made too.

        Returns:
            The path.

        Raises:
            RunError: If something is there already.
            OSError: If the disk refuses.

        Example:
            >>> import carousel, tempfile
            >>> from pathlib import Path
            >>> with tempfile.TemporaryDirectory() as place:
            ...     folder = carousel.load("story").save(Path(place) / "mine")
            ...     carousel.load(folder)
            TextModel(lstm, hidden_size=560, 86 characters, 3,969,270 parameters)
        """
        with python_words():
            folder = as_path(path, "path")
            save_model(self.module, self.vocabulary, self.config, folder)
        return folder

    def to_torch(self) -> "nn.Module":
        """Return the same weights in plain modules of torch.nn, as a copy.

        Returns:
            A module whose forward takes ids (B, T) and a state, or None, and returns logits
            (B, T, V) and the state, equal to `module` up to rounding. A recurrent model is
            `nn.Embedding`, one of `nn.RNN`, `nn.GRU` and `nn.LSTM`, and `nn.Linear`.

        Raises:
            ConfigError: If the model has an option that torch.nn lacks; the message names it.

        Example:
            >>> import carousel, torch
            >>> model = carousel.load("story")
            >>> ids = torch.tensor([[3, 1, 4]])
            >>> torch.allclose(model.to_torch()(ids)[0], model.module(ids)[0], atol=1e-4)
            True
        """
        from carousel.interop.to_torch import to_torch

        return to_torch(self.module)
