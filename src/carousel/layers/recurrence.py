"""From parameters to a stack of recurrent layers, the same for every family.

`Recurrence` is the one autograd.Function; `run` sends one layer through the chosen
implementation; `stack` joins layers, with dropout between them.
Time-major: T time steps, B sequences, D input features, G = gates · H, L layers.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carousel.kernels.implementation import Backend, Implementation, choose
from carousel.ops.recurrence import Dense, Family, State, Trace, Weights


class Recurrence(torch.autograd.Function):
    """A recurrence whose gradient is the hand-derived one, not torch's.

    A second derivative is refused rather than silently wrong. (torch's once_differentiable would
    take it for zero where the loss is linear in the output.)
    """

    @staticmethod
    def forward(
        ctx: Any,
        implementation: Implementation,
        family: Family,
        names: tuple[str, ...],
        x: Tensor,
        w_ih: Tensor,
        b_ih: Tensor | None,
        *state_and_weights: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return (y, *state); names are those of the weights, which follow the state."""
        split = len(state_and_weights) - len(names)
        state, weights = state_and_weights[:split], state_and_weights[split:]
        y, last, trace = implementation.forward(
            family, Dense(x, w_ih, b_ih), state, dict(zip(names, weights, strict=True))
        )
        # save_for_backward, never an attribute: an output kept on ctx is a cycle that leaks.
        caches = [tensor for cache in trace.caches for tensor in cache]
        ctx.save_for_backward(x, w_ih, b_ih, *weights, *caches)
        ctx.implementation, ctx.family, ctx.names = implementation, family, names
        ctx.steps = len(trace.caches)
        return y, *last

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *dstate: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError(
                "the hand-derived gradient cannot be differentiated again (create_graph=True); "
                "the layer's backend='autograd' can"
            )
        x, w_ih, b_ih, *rest = ctx.saved_tensors
        weights: Weights = dict(zip(ctx.names, rest, strict=False))
        flat = rest[len(ctx.names) :]
        width = len(flat) // ctx.steps
        caches = [tuple(flat[k : k + width]) for k in range(0, len(flat), width)]
        trace = Trace(Dense(x, w_ih, b_ih), caches)
        with own_precision(x.device):
            dsource, dstate_0, dweights = ctx.implementation.backward(
                ctx.family, dy, dstate, trace, weights
            )
        return None, None, None, *dsource, *dstate_0, *(dweights[name] for name in ctx.names)


def run(
    family: Family, source: Dense, state: State, weights: Weights, backend: Backend
) -> tuple[Tensor, State]:
    """Send one layer in one direction through the implementation that the backend asks for."""
    implementation = choose(backend)
    if implementation.backward is None:
        y, last, _ = implementation.forward(family, source, state, weights)
        return y, last
    y, *last_state = Recurrence.apply(  # type: ignore[no-untyped-call]
        implementation, family, tuple(weights), *source, *state, *weights.values()
    )
    return y, tuple(last_state)


def stack(
    family: Family,
    x: Tensor,
    state: State,
    layers: list[tuple[Tensor, Tensor | None, Weights]],
    *,
    dropout: float,
    backend: Backend,
) -> tuple[Tensor, State]:
    """Run x (T, B, D) through L layers, with dropout between them; states are (L, B, ·) each."""
    with own_precision(x.device):
        dtype = layers[0][0].dtype
        x, state = x.to(dtype), tuple(s.to(dtype) for s in state)
        finals = []
        for k, (w_ih, b_ih, weights) in enumerate(layers):
            if k > 0:
                x = F.dropout(x, dropout, training=dropout > 0)
            x, last = run(
                family, Dense(x, w_ih, b_ih), tuple(s[k] for s in state), weights, backend
            )
            finals.append(last)
    return x, tuple(torch.stack(layer_states) for layer_states in zip(*finals, strict=True))


def own_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Switch autocast off: the recurrence computes in the precision of its weights.

    A state that is summed over thousands of steps does not survive eight bits of mantissa.
    """
    if is_autocast_on(device):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def is_autocast_on(device: torch.device) -> bool:
    """Tell whether autocast is at work on a device; some, such as meta, do not know it."""
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def add_parameters(
    module: nn.Module,
    family: Family,
    *,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> None:
    """Register weight_ih_l0, weight_hh_l0, bias_ih_l0, …: torch.nn's names and order."""
    packed = family.gates * hidden_size
    for k in range(num_layers):
        shapes: dict[str, tuple[int, ...]] = {
            f"weight_ih_l{k}": (packed, input_size if k == 0 else hidden_size),
            f"weight_hh_l{k}": (packed, hidden_size),
        }
        if bias:
            shapes |= {f"bias_ih_l{k}": (packed,), f"bias_hh_l{k}": (packed,)}
        for name, shape in shapes.items():
            module.register_parameter(
                name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            )


def reset_parameters(module: nn.Module, hidden_size: int) -> None:
    """Draw every parameter from U(-1/√H, 1/√H), as torch.nn does, in its order."""
    bound = 1 / math.sqrt(hidden_size)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -bound, bound)


def layer_parameters(
    module: nn.Module, num_layers: int
) -> list[tuple[Tensor, Tensor | None, Weights]]:
    """Collect (w_ih, b_ih, weights of the recurrence) of each layer.

    By attribute, not from named_parameters(): there a weight under weight_norm, or one handed in
    by torch.func.functional_call, is missing.
    """
    layers: list[tuple[Tensor, Tensor | None, Weights]] = []
    for k in range(num_layers):
        weights: Weights = {"w_hh": getattr(module, f"weight_hh_l{k}")}
        if hasattr(module, f"bias_hh_l{k}"):
            weights["b_hh"] = getattr(module, f"bias_hh_l{k}")
        b_ih = getattr(module, f"bias_ih_l{k}", None)
        layers.append((getattr(module, f"weight_ih_l{k}"), b_ih, weights))
    return layers
