"""Rows of docs/drop_in.md: parametrisations, pruning, hooks, copies, places, in-place, types."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from drop_in_checks import (
    Check,
    D,
    H,
    Inputs,
    flat,
    gradients,
    leaves,
    parts,
    pickled,
    saved_whole,
    total,
    within,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune


def recurrent_weight(layer: nn.Module) -> str:
    """The name of a matrix that the layer computes with."""
    names = [name for name, p in layer.named_parameters() if p.dim() == 2]
    return next((name for name in names if "_hh" in name), names[0])


def under(wrap: Callable[..., Any]) -> Check:
    """Gradients of a layer one weight of which is computed."""

    def check(layer: nn.Module, x: Inputs) -> Any:
        torch.manual_seed(4)
        wrap(layer, recurrent_weight(layer))
        layer.eval()
        return sorted(layer.state_dict()), gradients(layer, x)

    return check


def pruned(is_made_permanent: bool) -> Check:
    def check(layer: nn.Module, x: Inputs) -> Any:
        name = recurrent_weight(layer)
        prune.l1_unstructured(layer, name, amount=0.5)  # type: ignore[no-untyped-call]
        if is_made_permanent:
            prune.remove(layer, name)  # type: ignore[no-untyped-call]
        x = leaves(x)
        first = torch.autograd.grad(total(layer, x), x)
        with torch.no_grad():
            return first, flat(layer, x), sorted(layer.state_dict())

    return check


def forward_hooks(layer: nn.Module, x: Inputs) -> Any:
    """What hooks see, and what they change."""
    seen: list[Any] = []
    layer.register_forward_pre_hook(lambda _, given: tuple(2 * part for part in given))
    layer.register_forward_hook(lambda _, given, y: seen.extend([*given, *parts(y)]))
    layer.register_forward_hook(lambda _, given, y: [3 * part for part in parts(y)])
    return flat(layer, x), seen


def backward_hooks(layer: nn.Module, x: Inputs) -> Any:
    seen: list[Any] = []
    layer.register_full_backward_pre_hook(lambda _, dy: seen.extend(dy))
    layer.register_full_backward_hook(lambda _, dx, dy: seen.extend([*dx, *dy]))
    return gradients(layer, x), [part for part in seen if part is not None]


def hooks_of_parameters(layer: nn.Module, x: Inputs) -> Any:
    seen: list[Tensor] = []
    for parameter in layer.parameters():
        parameter.register_hook(lambda d: 2 * d)
        parameter.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad))
    total(layer, x).backward()  # type: ignore[no-untyped-call]
    return len(seen), [p.grad for p in layer.parameters()]


def hooks_of_state_dicts(layer: nn.Module, x: Inputs) -> Any:
    seen: list[Any] = []
    layer.register_state_dict_pre_hook(lambda *given: seen.append(len(given)))
    layer.register_state_dict_post_hook(lambda module, state, *_: seen.append(sorted(state)))
    layer.register_load_state_dict_pre_hook(lambda module, state, *_: seen.append(sorted(state)))
    layer.register_load_state_dict_post_hook(lambda module, keys: seen.append(keys.missing_keys))
    layer.load_state_dict(layer.state_dict())
    return seen


def copied(copy_of: Callable[[nn.Module], nn.Module]) -> Check:
    def check(layer: nn.Module, x: Inputs) -> Any:
        twin = copy_of(layer)
        for parameter in layer.parameters():
            parameter.requires_grad_(False)
        return gradients(twin, x), repr(twin)

    return check


def shared(layer: nn.Module, x: Inputs) -> Any:
    layer.share_memory()  # type: ignore[no-untyped-call]
    return [p.is_shared() for p in layer.parameters()], gradients(layer, x)


def loaded_by_assignment(layer: nn.Module, x: Inputs) -> Any:
    state = {name: 2 * value for name, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)
    return flat(layer, x)


def emptied(layer: nn.Module, x: Inputs) -> Any:
    """To the meta device, and back without values."""
    state = copy.deepcopy(layer.state_dict())
    layer.to("meta").to_empty(device="cpu").load_state_dict(state)
    return flat(layer, x)


def on_meta(layer: nn.Module, x: Inputs) -> Any:
    y = flat(layer.to("meta"), tuple(part.to("meta") for part in x))
    return [(part.shape, part.dtype, part.device.type) for part in y]


def kind_of(layer: nn.Module) -> tuple[type[nn.Module], tuple[int, int]]:
    """Its class and sizes."""
    return type(layer), (D, 2) if type(layer).__name__ == "MultiheadAttention" else (D, H)


def skipped_init(layer: nn.Module, x: Inputs) -> Any:
    kind, sizes = kind_of(layer)
    twin = nn.utils.skip_init(kind, *sizes).to(x[0].dtype)
    twin.load_state_dict(layer.state_dict())
    return flat(twin, x)


def made_on_meta(layer: nn.Module, x: Inputs) -> Any:
    kind, sizes = kind_of(layer)
    with torch.device("meta"):
        twin = kind(*sizes)
    return [(name, p.shape, p.is_meta) for name, p in twin.state_dict().items()]


def of_numpy_sizes(layer: nn.Module, x: Inputs) -> Any:
    kind, sizes = kind_of(layer)
    if kind not in (nn.RNN, nn.GRU, nn.LSTM):  # torch's refuse what its cells take
        sizes = tuple(np.int64(size) for size in sizes)  # type: ignore[assignment]
    twin = kind(*sizes)
    return repr(twin), [p.shape for p in twin.parameters()]


def in_another_precision(dtype: torch.dtype) -> Check:
    def check(layer: nn.Module, x: Inputs) -> Any:
        found = flat(layer.to(dtype), tuple(part.to(dtype) for part in x))
        return [(y.dtype, y.float()) for y in found]

    return check


def autocast(dtype: torch.dtype, enabled: bool = True) -> Check:
    def check(layer: nn.Module, x: Inputs) -> Any:
        with torch.autocast("cpu", dtype, enabled=enabled):
            return flat(layer, x)

    return check


def in_place(change: Callable[[Tensor], Any]) -> Check:
    """Change each output in place in turn."""

    def check(layer: nn.Module, x: Inputs) -> Any:
        found: list[Any] = []
        for k in range(len(flat(layer, x))):
            y = flat(layer, x)
            change(y[k])
            loss = torch.stack([part.square().sum() for part in y]).sum()
            if loss.requires_grad:
                grads = torch.autograd.grad(loss, list(layer.parameters()), materialize_grads=True)
                found.append(grads)
        return found

    return check


def of_views(layer: nn.Module, x: Inputs) -> Any:
    """Inputs that are not contiguous, and expanded."""
    spread = tuple(torch.stack([part, part], -1)[..., 0] for part in x)
    same = tuple(part[:1].expand(part.shape) for part in x)
    return gradients(layer, spread), gradients(layer, same)


def frozen(layer: nn.Module, x: Inputs) -> Any:
    first, *others = layer.parameters()
    first.requires_grad_(False)
    return torch.autograd.grad(total(layer, x), others), first.grad


def as_vector(layer: nn.Module, x: Inputs) -> Any:
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(2 * vector, layer.parameters())
    return flat(layer, x)


def averaged(layer: nn.Module, x: Inputs) -> Any:
    return flat(torch.optim.swa_utils.AveragedModel(layer), x)


def attributes(layer: nn.Module, x: Inputs) -> Any:
    """What torch's constructor sets, lists of weights among it."""
    twin = getattr(nn, type(layer).__name__)(*kind_of(layer)[1])
    names = [name for name in twin.__dict__ if name not in NOT_OF_USERS]
    names += ["all_weights", "_flat_weights", "__constants__"]
    names += [name for name, _ in twin.named_parameters()]
    return {
        name: list(value) if isinstance(value, (list, tuple)) else value
        for name in names
        if hasattr(twin, name.split(".")[0]) and "." not in name
        for value in [getattr(layer, name)]
    }


NOT_OF_USERS = set(nn.Module().__dict__) | {"_flat_weight_refs", "_backward_hooks"}


def methods(layer: nn.Module, x: Inputs) -> Any:
    """The public names of torch's namesake."""
    theirs = getattr(nn, type(layer).__name__)
    return {name: hasattr(layer, name) for name in dir(theirs) if not name.startswith("_")}


ROWS: dict[str, Check] = {
    "`weight_norm`": under(parametrizations.weight_norm),
    "`weight_norm`, deprecated": under(nn.utils.weight_norm),
    "`spectral_norm`": under(parametrizations.spectral_norm),
    "`spectral_norm`, deprecated": under(nn.utils.spectral_norm),
    "`orthogonal`": under(parametrizations.orthogonal),
    "pruning": pruned(False),
    "pruning, `remove`": pruned(True),
    "hooks: forward, forward pre": forward_hooks,
    "hooks: full backward, full backward pre": backward_hooks,
    "hooks of parameters": hooks_of_parameters,
    "hooks of `state_dict`": hooks_of_state_dicts,
    "`copy.deepcopy`": copied(copy.deepcopy),
    "`pickle`": copied(pickled),
    "`torch.save` of the layer": saved_whole,
    "`load_state_dict(assign=True)`": loaded_by_assignment,
    "`share_memory`": shared,
    "`to_empty`": emptied,
    "meta device": on_meta,
    "made under `torch.device('meta')`": made_on_meta,
    "`skip_init`": skipped_init,
    "sizes of numpy": of_numpy_sizes,
    "`AveragedModel`": averaged,
    "`parameters_to_vector`": as_vector,
    "frozen parameters": frozen,
    "inputs that are views": of_views,
    "`detach_` of outputs and states": in_place(lambda y: y.detach_()),
    "`mul_` of outputs and states": in_place(lambda y: y.mul_(2)),
    "`zero_` of the first sequence": in_place(lambda y: y.select(-2, 0).zero_()),
    "`double`": in_another_precision(torch.float64),
    "`bfloat16`": in_another_precision(torch.bfloat16),
    "`half`": in_another_precision(torch.float16),
    "autocast, bfloat16": autocast(torch.bfloat16),
    "autocast, float16": autocast(torch.float16),
    "autocast, disabled": autocast(torch.bfloat16, enabled=False),
    "autocast, bfloat16, `no_grad`": within(torch.no_grad, autocast(torch.bfloat16)),
    "attributes": attributes,
    "public names": methods,
}
