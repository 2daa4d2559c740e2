"""Continuous batching: texts of one model are generated together, added and aborted at any token.

A text depends on its model and its request alone: not on the others in the batch, on when it was
added, or on how long each call lasts.
"""

import time
from collections.abc import Hashable

import torch

from carousel.errors import ConfigError
from carousel.generation.kernel_runner import kernel_runner
from carousel.generation.request import Output, Request
from carousel.generation.runner import Runner
from carousel.generation.sentence_best_of import SentenceBestOf
from carousel.generation.single_sample import SingleSample
from carousel.generation.token_sequence import TokenSequence
from carousel.generation.torch_runner import TorchRunner
from carousel.models.base import LanguageModel

ROWS = 16  # of a batch, where the model is run by its own forward
COMPUTE_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}  # by `precision`


class Engine:
    """Generates the texts of one model. Not thread-safe, except for `interrupt`."""

    def __init__(
        self, model: LanguageModel, *, compute_dtype: torch.dtype = torch.float32, rows: int = ROWS
    ) -> None:
        """Choose a runner: the kernel's if it supports the model, else the model's own forward.

        Args:
            model: In evaluation mode; its parameters are not touched, and must not change.
            compute_dtype: Of the kernel's matrix products: float32, or bfloat16 where the processor
                has it.
            rows: Batch size of the model's own forward; further texts take turns.

        Raises:
            ValueError: If the model is in training mode, where dropout would make a text depend
                on torch's global generator.
        """
        if model.training:
            raise ValueError("the model is in training mode: call model.eval() first")
        self._model = model
        self._texts: dict[Hashable, SingleSample | SentenceBestOf] = {}
        self._reported: dict[Hashable, int] = {}  # tokens drawn, up to the last output
        self._paused: set[Hashable] = set()
        self._interrupted = torch.zeros(1, dtype=torch.int32)
        self._runner: Runner = kernel_runner(model, compute_dtype) or TorchRunner(model, rows)

    def __len__(self) -> int:
        """Return how many texts are unfinished."""
        return len(self._texts)

    def add(self, key: Hashable, request: Request) -> None:
        """Add a text; the next `step` begins it.

        Raises:
            ConfigError: If the model's positions end before the text does.
            ValueError: If an id is outside the vocabulary, or the key is in use.
        """
        if key in self._texts:
            raise ValueError(f"a text is being generated under the key {key!r}")
        if not all(0 <= token < self._model.vocab_size for token in request.prompt):
            raise ValueError(f"ids must be from 0 to {self._model.vocab_size - 1}")
        max_length = self._model.max_length
        # The last token that is drawn need not be read.
        if max_length is not None and len(request.prompt) + request.length - 1 > max_length:
            raise ConfigError(
                f"this model has positions for {max_length} characters; the prompt has "
                f"{len(request.prompt)} and {request.length} are to follow"
            )
        vocab_size, boundary = self._model.vocab_size, request.boundary
        if request.sampling.candidates > 1 and boundary is not None and request.length:
            self._texts[key] = SentenceBestOf(request, boundary, vocab_size, self._runner)
        else:
            self._texts[key] = SingleSample(request, vocab_size, self._runner)

    def abort(self, key: Hashable) -> int:
        """Remove a text, if it is there; return the tokens drawn for it since its last output."""
        text = self._texts.pop(key, None)
        if text is None:
            return 0
        text.remove()
        self._paused.discard(key)
        return text.num_drawn - self._reported.pop(key, 0)

    def pause(self, key: Hashable) -> None:
        """Skip a text until it is resumed."""
        if key in self._texts:
            self._paused.add(key)

    def resume(self, key: Hashable) -> None:
        """Continue a text that is paused."""
        self._paused.discard(key)

    @property
    def is_idle(self) -> bool:
        """Whether there is no text, or all are paused."""
        return len(self._paused) == len(self._texts)

    def step(self, seconds: float) -> list[Output]:
        """Continue all texts for about this long, and return what each has gained."""
        self.run(seconds)
        return self.outputs()

    def run(self, seconds: float) -> bool:
        """Continue all texts for about this long, or to their ends, by one token at least.

        Returns:
            Whether there is more to generate.
        """
        end = time.monotonic() + seconds
        while unfinished := self._unfinished():
            for sequence in unfinished:
                sequence.ensure_capacity()
            self._runner.run(unfinished, max(0.0, end - time.monotonic()), self._interrupted)
            for text in self._texts.values():
                text.update()
            if self._interrupted or time.monotonic() >= end:
                break
        self._interrupted.zero_()
        return bool(self._unfinished())

    def outputs(self) -> list[Output]:
        """Return what each text has gained since the last call, and remove the finished ones."""
        outputs = []
        for key, text in self._texts.items():
            num_drawn = text.num_drawn - self._reported.get(key, 0)
            outputs.append(text.output(key)._replace(num_drawn=num_drawn))
            self._reported[key] = text.num_drawn
        for output in outputs:
            if output.is_finished:
                self.abort(output.key)
        return outputs

    def interrupt(self) -> None:
        """End the present call of `run`, or the next, after a few tokens; from any thread."""
        self._interrupted.fill_(1)

    def _unfinished(self) -> list[TokenSequence]:
        """Return the sequences to run, of all texts that are not paused."""
        texts = (text for key, text in self._texts.items() if key not in self._paused)
        return [sequence for text in texts for sequence in text.unfinished]
