"""Who is measured: each way to do a case, made ready and returned as one call.

`nn` is torch's own layer, `fused` and `bptt` are ours, `textbook` is a loop over the cell with one
product per gate, differentiated by torch, and `compiled` is that loop unrolled by torch.compile.
`f32` is single precision; `bf16` the same parameters under autocast; a `module` is bf16 throughout.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import carousel
from benchmarks.cases import Case, Shape, V
from carousel.data.batches import RandomWindows
from carousel.kernels import fused
from carousel.models.base import LanguageModel
from carousel.models.config import ModelConfig
from carousel.models.language_model import CharacterModel
from carousel.models.loss import cross_entropy
from carousel.training.config import PRESETS, RunConfig, run_config
from carousel.training.optimizers import build_optimizers
from carousel.training.setup import new_trainer
from carousel.training.trainer import Trainer, train_step

Pass = Callable[[], None]

_OURS: dict[str, Any] = {"lstm": carousel.LSTM, "gru": carousel.GRU, "rnn": carousel.RNN}
_TORCHS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class CannotRun(Exception):
    """A contender that this machine has not what it needs for; the message says what."""


def is_ours(way: str) -> bool:
    """Tell our ways from the peers'."""
    return way.startswith(("fused", "bptt"))


def prepare(way: str, case: Case) -> Pass:
    """Make a contender ready; the call returned does the task once.

    Raises:
        CannotRun: If it cannot be.
    """
    if way.startswith("fused") and (reason := fused.unavailable_reason(_compute_dtype(way))):
        raise CannotRun(reason)
    torch.manual_seed(0)
    match case.task:
        case "training" | "inference":
            return _layer_pass(way, case)
        case "language model":
            return _language_model_pass(way, case.shape)
        case "step":
            return _step_pass(way, case.shape)


def _compute_dtype(way: str) -> torch.dtype:
    return torch.bfloat16 if "bf16" in way else torch.float32


def _precision(way: str) -> AbstractContextManager[Any]:
    """Return autocast where the way says bf16, and no more than that."""
    if "bf16" in way and "module" not in way:
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()


def _layer_pass(way: str, case: Case) -> Pass:
    t, b, d, h, _ = case.shape
    own = torch.bfloat16 if "module" in way else torch.float32
    layer = _layer(way, case).to(own)
    x = torch.randn(t, b, d, dtype=own)

    def forward() -> Tensor:
        with _precision(way):
            y: Tensor = layer(x)[0]
        return y

    def infer() -> None:
        with torch.no_grad():
            forward()

    if case.task == "inference":
        layer.eval()
        return infer
    inputs = [x.requires_grad_(), *layer.parameters()]
    dy = {kind: torch.randn(t, b, h).to(kind) for kind in (torch.float32, torch.bfloat16)}

    def forward_and_backward() -> None:
        y = forward()
        torch.autograd.grad(y, inputs, dy[y.dtype])

    return forward_and_backward


def _layer(way: str, case: Case) -> nn.Module:
    kind, shape = way.split()[0], case.shape
    sizes = (shape.D, shape.H, shape.L)
    match kind:
        case "nn":
            made: nn.Module = _TORCHS[case.family](*sizes)
        case "fused" | "bptt":
            made = _OURS[case.family](*sizes, backend=kind)
        case "textbook":
            made = Textbook(shape.D, shape.H)
        case "compiled":
            made = _compiled(Textbook(shape.D, shape.H))
        case _:
            raise ValueError(f"no contender is called {way!r}")
    return made


class Textbook(nn.Module):
    """An LSTM as a first course writes it: a loop over time, and in it one product per gate."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gates = nn.ModuleList(nn.Linear(input_size + hidden_size, hidden_size) for _ in "ifgo")

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs (T, B, H) of inputs (T, B, D), and the last state."""
        h = c = x.new_zeros(x.shape[1], self.hidden_size)
        outputs = []
        for x_t in x.unbind(0):
            both = torch.cat((x_t, h), 1)
            i, f, g, o = (gate(both) for gate in self.gates)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs), (h, c)


def _compiled(layer: nn.Module) -> nn.Module:
    """Return the layer, to be compiled at its first call, and nothing of it found in a cache."""
    try:
        from torch.compiler import config
    except ImportError as error:
        raise CannotRun(f"torch.compile: {error}") from None
    torch.compiler.reset()
    config.force_disable_caches = True
    warnings.filterwarnings("ignore", "dynamo_pgo force disabled")  # as it was asked to be
    compiled: nn.Module = torch.compile(layer)  # type: ignore[assignment]
    return compiled


class TorchModel(nn.Module):
    """A language model of torch's layers, as CharacterModel is one of ours."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, shape.D)
        self.recurrence = nn.LSTM(shape.D, shape.H, shape.L, batch_first=True)
        self.output = nn.Linear(shape.H, V)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (B, T, V) of ids (B, T)."""
        y: Tensor = self.recurrence(self.embedding(ids))[0]
        logits: Tensor = self.output(y)
        return logits


class Fed(nn.Module):
    """A recurrence fed with vectors: it is no layer of ours, so the model embeds the ids first."""

    def __init__(self, recurrence: nn.Module) -> None:
        super().__init__()
        self.recurrence = recurrence

    def forward(self, x: Tensor, hx: Any) -> Any:
        """Return outputs and the last state."""
        return self.recurrence(x, hx)


def _language_model_pass(way: str, shape: Shape) -> Pass:
    ids = torch.randint(V, (shape.B, shape.T + 1))
    tokens, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    model = TorchModel(shape) if way.startswith("nn") else _our_model(way, shape)
    parameters = list(model.parameters())

    def torchs() -> None:
        with _precision(way):
            logits = model(tokens)
        torch.autograd.grad(_torchs_loss(logits, targets), parameters)

    def ours() -> None:
        with _precision(way):
            logits, _ = model(tokens)
        torch.autograd.grad(cross_entropy(logits, targets).mean(), parameters)

    return torchs if way.startswith("nn") else ours


def _torchs_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def _our_model(way: str, shape: Shape) -> LanguageModel:
    config = ModelConfig(embedding_size=shape.D, hidden_size=shape.H, num_layers=shape.L)
    model = CharacterModel(config, V)
    if "looked up" in way:
        body: Any = model.body
        body.recurrence = Fed(body.recurrence)
    return model


def _step_pass(way: str, shape: Shape) -> Pass:
    ids = np.random.default_rng(0).integers(V, size=1_000_000, dtype=np.uint8)
    if way in ("nn f32", "nn bf16"):
        return _torchs_step(way, shape, ids)
    precision = "bf16" if "bf16" in way else "float32"
    trainer = new_trainer(_recipe(shape, precision), V, ids, "cpu")
    if way == "nn in our step f32":
        put_torchs_layer(trainer, shape.D, shape.H, shape.L)

    def step() -> None:
        train_step(trainer)

    return step


def put_torchs_layer(trainer: Trainer, D: int, H: int, L: int) -> None:
    """Put torch.nn.LSTM in the place of our layer, with its own weights to begin with."""
    body: Any = trainer.model.body
    body.recurrence = Fed(nn.LSTM(D, H, L, batch_first=True))
    trainer.optimizers = build_optimizers(trainer.model, trainer.config)


def _recipe(shape: Shape, precision: str) -> RunConfig:
    """Return the preset `story` with these sizes."""
    sizes: dict[str, dict[str, Any]] = {
        "model": {
            "embedding_size": shape.D,
            "hidden_size": shape.H,
            "num_layers": shape.L,
        },
        "training": {
            "batch_size": shape.B,
            "sequence_length": shape.T,
            "precision": precision,
        },
    }
    return run_config(("story", PRESETS["story"]), ("the case", sizes))


def _torchs_step(way: str, shape: Shape, ids: np.ndarray) -> Pass:
    """Return a step as one writes it in plain torch; the batches are drawn as ours are."""
    settings = _recipe(shape, "float32").training
    batches = RandomWindows(ids, shape.B, shape.T, settings.seed)
    model = TorchModel(shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate or 2e-3)
    done = 0

    def step() -> None:
        nonlocal done
        batch = batches.batch(done)
        tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
        optimizer.zero_grad()
        with _precision(way):
            logits = model(tokens)
        loss = _torchs_loss(logits, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimizer.step()
        loss.item()  # what a loop prints
        done += 1

    return step
