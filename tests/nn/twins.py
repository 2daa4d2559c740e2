"""Layers to examine: torch.nn's and ours with the same parameters; every variant; their results."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import carousel

T, B, D, H, P, L = 5, 3, 4, 6, 2, 2  # different: a swapped axis cannot pass unseen
BACKENDS = ("auto", "bptt", "autograd")
LAYERS = ("RNN", "GRU", "LSTM")
CELLS = ("RNNCell", "GRUCell", "LSTMCell")
Tensors = dict[str, Tensor]
States = tuple[Tensor, ...]  # (h,) or (h, c)
VARIANTS: dict[str, dict[str, Any]] = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu"},
    "GRU": {},
    "GRU reset before": {"reset_after": False},
    "LSTM": {},
    "LSTM projected": {"proj_size": P},
    "LSTM peephole": {"peephole": True},
    "LSTM peephole projected": {"peephole": True, "proj_size": P},
    "LSTM coupled": {"coupled": True},
    "LSTM 1997": {"forget_gate": False},
    "LSTM layer norm": {"layer_norm": True},
    "LSTM zoneout": {"zoneout": 0.3},
    "LSTM all dropouts": {
        "zoneout": 0.3,
        "recurrent_dropout": 0.4,
        "variational_dropout": 0.5,
        "dropout": 0.6,
        "peephole": True,
        "proj_size": P,
    },
}

each_variant = pytest.mark.parametrize("variant", VARIANTS)


def twins(name: str, *sizes: int, backend: str = "auto", **options: Any) -> tuple[Any, Any]:
    """A layer of torch.nn's with every parameter random and wide, and ours with the same ones."""
    torch.manual_seed(0)
    theirs = getattr(nn, name)(*sizes, **options)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    ours = getattr(carousel, name)(*sizes, backend=backend, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def wide(layer: Any) -> Any:
    """The layer with every parameter random and wide, also those that start at 0 or 1."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def made(variant: str, **options: Any) -> Any:
    """A layer of a variant out of training, with every parameter random and wide."""
    torch.manual_seed(0)
    family = getattr(carousel, variant.split()[0])
    layer = family(D, H, L, dtype=torch.float64, **VARIANTS[variant], **options)
    return wide(layer).eval()


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """A leaf of random numbers."""
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def state_for(layer: Any, *rows: int, dtype: torch.dtype = torch.float64) -> States:
    """A random initial state of a layer for B sequences, or for one where no rows are given."""
    directions = 2 if layer.bidirectional else 1
    widths = [layer.proj_size or layer.hidden_size]
    widths += [layer.hidden_size] if layer.mode == "LSTM" else []
    return tuple(normal(layer.num_layers * directions, *rows, w, dtype=dtype) for w in widths)


def called(layer: Any, x: Tensor | PackedSequence, state: States | None = None) -> Tensors:
    """Outputs and last states, by name; the state is given as the layer wants it."""
    hx = state if state is None or len(state) == 2 else state[0]
    y, last = layer(x, hx)
    parts = last if isinstance(last, tuple) else (last,)
    named = dict(zip(("h_n", "c_n"), parts, strict=False))
    return {"y": y.data if isinstance(y, PackedSequence) else y} | named


def results(layer: Any, x: Tensor, state: States | None = None) -> Tensors:
    """Output, last states, and the gradients of a random weighted sum of them to everything."""
    torch.manual_seed(0)  # of the dropout masks
    return with_gradients(layer, called(layer, x, state), inputs(x, state))


def inputs(x: Tensor, state: States | None = None) -> Tensors:
    return {"x": x} | dict(zip(("h_0", "c_0"), state or (), strict=False))


def with_gradients(layer: nn.Module, outputs: Tensors, leaves: Tensors) -> Tensors:
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (torch.randn(o.shape, generator=generator).to(o.dtype) * o).sum() for o in outputs.values()
    )
    leaves = leaves | {name: p for name, p in layer.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return outputs | {f"d{name}": d for name, d in zip(leaves, gradients, strict=True)}
