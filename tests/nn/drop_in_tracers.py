"""Rows of docs/drop_in.md: torch.fx, export, jit, compile."""

import io
from typing import Any

import torch
from drop_in_checks import Check, Inputs, flat, gradients, leaves, parts, pickled, total
from torch import Tensor, nn
from torch.export import Dim, export
from torch.fx import symbolic_trace
from torch.fx.experimental.proxy_tensor import make_fx


class Net(nn.Module):
    """A layer inside a model, as torch.fx meets it."""

    def __init__(self, layer: nn.Module, count: int) -> None:
        super().__init__()
        self.layer, self.count = layer, count

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Any:
        return self.layer(*(torch.tanh(x), y, z)[: self.count])


class One(nn.Module):
    """The same with one argument, as torch.export meets it."""

    def __init__(self, layer: nn.Module, count: int) -> None:
        super().__init__()
        self.layer, self.count = layer, count

    def forward(self, x: Tensor) -> Any:
        return self.layer(*[torch.tanh(x)] * self.count)


def three(x: Inputs) -> Inputs:
    return (x * 3)[:3]


def symbolically(layer: nn.Module, x: Inputs) -> Any:
    traced = symbolic_trace(Net(layer, len(x)))
    calls = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    return calls, parts(traced(*three(x)))


def with_hook_traced(layer: nn.Module, x: Inputs) -> Any:
    """A hook runs once a call of the traced model, and not while it is traced."""
    counts: list[int] = []
    layer.register_forward_hook(lambda *_: counts.append(1))
    traced = symbolic_trace(Net(layer, len(x)))
    traced(*three(x))
    return len(counts)


def retraced(layer: nn.Module, x: Inputs) -> Any:
    traced = symbolic_trace(symbolic_trace(Net(layer, len(x))))
    return parts(pickled(traced)(*three(x)))


def exported(dims: dict[int, Any] | None, *, strict: bool = False, steps: int = 3) -> Check:
    """Export for a batch of 2, then run with 2, and where the batch may differ with 5."""

    def check(layer: nn.Module, x: Inputs) -> Any:
        is_cell = x[0].dim() == 2
        first = x[0] if is_cell else x[0][:steps]
        net = One(layer, len(x)).eval()
        shapes = None
        if dims is not None:
            shapes = {"x": {0 if is_cell else 1: Dim("batch", max=64)}}
        program = export(net, (first,), dynamic_shapes=shapes, strict=strict)
        torch.manual_seed(3)
        others = [first]
        if dims is not None:
            shape = list(first.shape)
            shape[0 if is_cell else 1] = 5
            others.append(torch.randn(shape).to(first.dtype))
        return [parts(program.module()(other)) for other in others]

    return check


def traced_by_jit(layer: nn.Module, x: Inputs) -> Any:
    """Traced, saved, loaded; also run with another batch."""
    traced = torch.jit.trace(layer, x, check_trace=False)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    wider = tuple(torch.cat([part, part], dim=-2) for part in x)
    return [parts(run(*given)) for run in (traced, loaded) for given in (x, wider)]


def gradients_traced_by_jit(layer: nn.Module, x: Inputs) -> Any:
    return gradients(torch.jit.trace(layer, x, check_trace=False), x)


def scripted(layer: nn.Module, x: Inputs) -> Any:
    torch.jit.script(nn.Sequential(layer))
    return "compiled"


def through_make_fx(layer: nn.Module, x: Inputs) -> Any:
    return make_fx(lambda *given: flat(layer, given))(*x)(*x)


def compiled(layer: nn.Module, x: Inputs) -> Any:
    """Outputs and gradients of a compiled function that calls the layer."""
    torch.compiler.reset()
    x = leaves(x)
    loss = torch.compile(lambda *given: total(layer, given), backend="eager")(*x)
    return torch.autograd.grad(loss, [*x, *layer.parameters()])


def compiled_in_place(layer: nn.Module, x: Inputs) -> Any:
    torch.compiler.reset()
    layer.compile(backend="eager")
    return parts(layer(*x))


ROWS: dict[str, Check] = {
    "`fx.symbolic_trace` of a model": symbolically,
    "`fx.symbolic_trace` of a model with hooks": with_hook_traced,
    "`fx.symbolic_trace` twice, pickled": retraced,
    "`fx.symbolic_trace` of the layer alone": lambda layer, x: symbolic_trace(layer),
    "`make_fx`": through_make_fx,
    "`export`": exported(None),
    "`export`, any batch": exported({}),
    "`export`, any batch, one time step": exported({}, steps=1),
    "`export(strict=True)`": exported(None, strict=True),
    "`jit.trace`, saved and loaded": traced_by_jit,
    "`jit.trace`, gradients": gradients_traced_by_jit,
    "`jit.script`": scripted,
    "`compile` of a function": compiled,
    "`Module.compile`": compiled_in_place,
}
