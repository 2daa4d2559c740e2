"""Small models with lively weights, and texts that engines write with them."""

import torch
from torch import Tensor

from carousel.generation.engine import Engine
from carousel.generation.request import Output, Request, TokenLogprob
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.language_model import build

KINDS = {
    "rnn tanh": {"model": "rnn"},
    "rnn relu": {"model": "rnn", "nonlinearity": "relu"},
    "gru": {"model": "gru"},
    "gru reset before": {"model": "gru", "reset_after": False},
    "lstm": {"model": "lstm"},
}  # those that a kernel writes with


def lively(v: int, *, seed: int = 0, **config: object) -> LanguageModel:
    """A model whose every weight is drawn, so that a forgotten one is missed; far from uniform."""
    torch.manual_seed(seed)
    model = build(ModelConfig(**({"dropout": 0.5} | config)), v)  # type: ignore[arg-type]
    gain = 0.7 if config.get("nonlinearity") == "relu" else 1.3  # a ReLU's sums have no end
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=gain * parameter.shape[1] ** -0.5)
            elif "norm" not in name:
                parameter.normal_(std=0.5)
        if (weight := getattr(model.output, "weight", None)) is not None:
            weight *= 2
    return model.eval()


class Text:
    """What an engine has told of a text."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.error: str | None = None
        self.is_finished = False

    def add(self, output: Output) -> None:
        assert not self.is_finished
        self.ids += output.ids
        self.logprobs += output.logprobs
        self.is_finished, self.error = output.is_finished, output.error


def written(engine: Engine, *requests: Request, seconds: float = 0.01) -> list[Text]:
    """All texts to their ends, together from the first character on."""
    texts = [Text() for _ in requests]
    for key, request in enumerate(requests):
        engine.add(key, request)
    while len(engine):
        for output in engine.step(seconds):
            texts[output.key].add(output)  # type: ignore[index]
    return texts


def log_p_of(model: LanguageModel, ids: list[int]) -> Tensor:
    """(T - 1, V), by the model's own forward, of what follows each id but the last."""
    with torch.no_grad():
        logits, _ = model(torch.tensor([ids[:-1]]))
    return logits[0].double().log_softmax(-1)
