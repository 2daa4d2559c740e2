"""What torch's tools do around a layer: one check a row of docs/drop_in.md, for any layer.

A check gets a layer and its inputs, and returns what it found, to be compared with the namesake's.
"""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint

import carousel

T, B, D, H = 3, 2, 4, 6
NAMES = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell", "MultiheadAttention")
Inputs = tuple[Tensor, ...]
Check = Callable[[nn.Module, Inputs], Any]


class Pair(NamedTuple):
    """The namesake of torch's, and ours with the same parameters."""

    theirs: nn.Module
    ours: nn.Module


def pair(name: str, **options: Any) -> Pair:
    torch.manual_seed(0)
    sizes = (D, 2) if name == "MultiheadAttention" else (D, H)
    theirs = getattr(nn, name)(*sizes, **options)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    ours = getattr(carousel, name)(*sizes, **options)
    ours.load_state_dict(theirs.state_dict())
    return Pair(theirs, ours)


def inputs(name: str, dtype: torch.dtype = torch.float32) -> Inputs:
    """What forward takes, without a state or masks; of attention three different tensors."""
    torch.manual_seed(1)
    shape = (B, D) if name.endswith("Cell") else (T, B, D)
    count = 3 if name == "MultiheadAttention" else 1
    return tuple(torch.randn(shape).to(dtype) for _ in range(count))


def parts(value: Any) -> list[Tensor]:
    """All tensors in what a layer returns."""
    if isinstance(value, PackedSequence):
        return [value.data]
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in parts(part)]
    return [value] if isinstance(value, Tensor) else []


def flat(layer: nn.Module, x: Inputs) -> Inputs:
    """Outputs and states of a call, as one tuple."""
    return tuple(parts(layer(*x)))


def total(layer: nn.Module, x: Inputs) -> Tensor:
    """A number that every output counts in, not linear in any."""
    return torch.stack([y.square().sum() for y in flat(layer, x)]).sum()


def leaves(x: Inputs) -> Inputs:
    return tuple(part.detach().clone().requires_grad_() for part in x)


def gradients(layer: nn.Module, x: Inputs) -> list[Tensor]:
    """Of inputs and parameters."""
    x = leaves(x)
    return list(torch.autograd.grad(total(layer, x), [*x, *layer.parameters()]))


def within(mode: Any, run: Check = flat) -> Check:
    """Run a check inside a mode, or several."""

    def check(layer: nn.Module, x: Inputs) -> Any:
        with mode():
            return run(layer, x)

    return check


def tangents(layer: nn.Module, x: Inputs) -> list[Tensor]:
    """Forward-mode derivatives of all outputs along random directions of the inputs."""
    with forward_ad.dual_level():
        torch.manual_seed(2)
        duals = tuple(forward_ad.make_dual(part, along(part)) for part in x)
        return [tangent(y) for y in flat(layer, duals)]


def has_tangents(layer: nn.Module, x: Inputs) -> list[bool]:
    with forward_ad.dual_level():
        duals = tuple(forward_ad.make_dual(part, along(part)) for part in x)
        return [forward_ad.unpack_dual(y).tangent is not None for y in flat(layer, duals)]


def tangents_of_weights(layer: nn.Module, x: Inputs) -> list[Tensor]:
    with forward_ad.dual_level():
        torch.manual_seed(2)
        duals = {
            name: forward_ad.make_dual(p.detach(), along(p)) for name, p in layer.named_parameters()
        }
        outputs = torch.func.functional_call(layer, duals, x)
        return [tangent(y) for y in parts(outputs)]


def along(x: Tensor) -> Tensor:
    """A random direction: the same in every precision."""
    return torch.randn(x.shape).to(x.dtype)


def tangent(y: Tensor) -> Tensor:
    found = forward_ad.unpack_dual(y).tangent
    assert found is not None, "the tangent is lost"
    return found.clone()


def no_grad_inside_enable_grad(layer: nn.Module, x: Inputs) -> Any:
    with torch.no_grad(), torch.enable_grad():
        return gradients(layer, x)


def twice_backward(layer: nn.Module, x: Inputs) -> Any:
    """The same graph twice."""
    x = leaves(x)
    loss, wanted = total(layer, x), [*x, *layer.parameters()]
    torch.autograd.grad(loss, wanted, retain_graph=True)
    return torch.autograd.grad(loss, wanted)


def double_backward(layer: nn.Module, x: Inputs) -> Any:
    x = leaves(x)
    first = torch.autograd.grad(total(layer, x), x, create_graph=True)
    bent = torch.stack([d.square().sum() for d in first]).sum()
    return torch.autograd.grad(bent, [*x, *layer.parameters()], materialize_grads=True)


def under_autograd_backend(check: Check) -> Check:
    return within(lambda: carousel.backend("autograd"), check)


def under_bptt_backend(check: Check) -> Check:
    return within(lambda: carousel.backend("bptt"), check)


def packed_hooks(layer: nn.Module, x: Inputs) -> Any:
    """What is kept for the backward pass goes through hooks, which here copy it."""
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t.clone()):
        return gradients(layer, x)


def checkpointed(use_reentrant: bool) -> Check:
    def check(layer: nn.Module, x: Inputs) -> Any:
        x = leaves(x)
        y = checkpoint(lambda *given: flat(layer, given), *x, use_reentrant=use_reentrant)
        loss = torch.stack([part.square().sum() for part in y]).sum()
        loss.backward()
        return [part.grad for part in (*x, *layer.parameters())]

    return check


def by_names(layer: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in layer.named_parameters()}


def of_parameters(layer: nn.Module, x: Inputs) -> Callable[[dict[str, Tensor]], Tensor]:
    """The loss as a function of the parameters."""

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        y = parts(torch.func.functional_call(layer, parameters, x))
        return torch.stack([part.square().sum() for part in y]).sum()

    return loss


def functional_hessian(layer: nn.Module, x: Inputs) -> Any:
    first, *others = x
    return torch.func.hessian(lambda x: total(layer, (x, *others)))(first)


def along_first(layer: nn.Module, x: Inputs) -> tuple[Callable[[Tensor], Inputs], Tensor]:
    """All outputs as a function of the first input."""
    first, *others = x
    return lambda x: flat(layer, (x, *others)), first


def func_jvp(layer: nn.Module, x: Inputs) -> Any:
    run, first = along_first(layer, x)
    return torch.func.jvp(run, (first,), (torch.ones_like(first),))


def func_vjp(layer: nn.Module, x: Inputs) -> Any:
    run, first = along_first(layer, x)
    y, pull = torch.func.vjp(run, first)
    return y, pull(tuple(torch.ones_like(part) for part in y))


def func_vmap(layer: nn.Module, x: Inputs) -> Any:
    stacked = tuple(torch.stack([part, 2 * part]) for part in x)
    return torch.func.vmap(lambda *given: flat(layer, given))(*stacked)


def gradient_of_each(layer: nn.Module, x: Inputs) -> Any:
    stacked = tuple(torch.stack([part, 2 * part]) for part in x)
    run = torch.func.grad(lambda p, *given: of_parameters(layer, given)(p))
    return torch.func.vmap(run, in_dims=(None, *[0] * len(x)))(by_names(layer), *stacked)


def ensemble(layer: nn.Module, x: Inputs) -> Any:
    """Two layers run as one, by stacked parameters."""
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    parameters, buffers = torch.func.stack_module_state([layer, other])  # type: ignore[arg-type]
    return torch.func.vmap(
        lambda p, b: parts(torch.func.functional_call(layer, (p, b), x)), in_dims=(0, 0)
    )(parameters, buffers)


def jacobian(**how: Any) -> Check:
    def check(layer: nn.Module, x: Inputs) -> Any:
        return torch.autograd.functional.jacobian(*along_first(layer, x), **how)

    return check


def batched_gradients(layer: nn.Module, x: Inputs) -> Any:
    x = leaves(x)
    y = flat(layer, x)[0]
    torch.manual_seed(2)
    directions = torch.randn(4, *y.shape).to(y.dtype)
    wanted = [*x, *layer.parameters()]
    return torch.autograd.grad(y, wanted, directions, is_grads_batched=True)


def vmapped_gradients(layer: nn.Module, x: Inputs) -> Any:
    """torch.func.vmap over torch.autograd.grad, as the documentation of vmap shows it."""
    x = leaves(x)
    y = flat(layer, x)[0]
    torch.manual_seed(2)
    directions = torch.randn(4, *y.shape).to(y.dtype)
    wanted = [*x, *layer.parameters()]
    return torch.func.vmap(lambda d: torch.autograd.grad(y, wanted, d, retain_graph=True))(
        directions
    )


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def saved_whole(layer: nn.Module, x: Inputs) -> Any:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return flat(torch.load(file, weights_only=False), x)
