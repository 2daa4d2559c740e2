"""What must hold of the layers around the ops: each check takes the module of `carousel.LSTM`.

The faults of group 4 are planted in copies of the modules of carousel.nn; the copies that stand
above the faulty one import it in the true one's place.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from patching import planted
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from anchors import Edit
from assertions import assert_near
from carousel.ops.recurrence import DenseInput, Masks
from carousel.verify.op_spec import OPS, Tensors

ABOVE_ONE_ANOTHER = ("packing", "regularization", "stack", "recurrent_layer", "lstm")
T, B, D, H, L = 4, 3, 5, 6, 2
WIDE = {"dtype": torch.float64}


def planted_layer(module: str, *edits: Edit) -> ModuleType:
    """Return the module of carousel.LSTM, with something changed in it or beneath it."""
    return planted("carousel.nn", ABOVE_ONE_ANOTHER, module, *edits)["lstm"]


def twins(code: ModuleType, **options: Any) -> tuple[Any, torch.nn.LSTM]:
    """Our layer and torch's, with the same parameters, every one random."""
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(D, H, L, **options, **WIDE)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours = code.LSTM(D, H, L, **options, **WIDE)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def results(layer: Any, x: Any, state: tuple[Tensor, Tensor]) -> Tensors:
    """Outputs, last states, and the gradients of a weighted sum of them."""
    torch.manual_seed(1)  # of what is drawn
    y, (h_n, c_n) = layer(x, state)
    data = x.data if isinstance(x, PackedSequence) else x
    outputs = {"y": y.data if isinstance(y, PackedSequence) else y, "h_n": h_n, "c_n": c_n}
    generator = torch.Generator().manual_seed(2)
    loss = sum((torch.randn(o.shape, generator=generator) * o).sum() for o in outputs.values())
    leaves = {"x": data, "h_0": state[0], "c_0": state[1]} | dict(layer.named_parameters())
    gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return outputs | {f"d{name}": d for name, d in zip(leaves, gradients, strict=True)}


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape, requires_grad=True, **WIDE)


def matches_torch(code: ModuleType) -> None:
    """Two layers, both directions, the batch first; and dropout between layers, drawn alike."""
    for options in ({"bidirectional": True, "batch_first": True}, {"dropout": 0.5}):
        ours, theirs = twins(code, **options)
        rows = 2 * L if "bidirectional" in options else L
        x, state = leaf(B, T, D), (leaf(rows, B, H), leaf(rows, B, H))
        x = x if "batch_first" in options else leaf(T, B, D)
        assert_near(results(ours, x, state), results(theirs, x, state))


def matches_torch_packed(code: ModuleType) -> None:
    """Sequences of unequal length, not sorted, in both directions."""
    ours, theirs = twins(code, bidirectional=True)
    state = leaf(2 * L, B, H), leaf(2 * L, B, H)
    packed = pack_sequence([leaf(n, D) for n in (2, T, 1)], enforce_sorted=False)
    assert_near(results(ours, packed, state), results(theirs, packed, state))


def obeys_the_streaming_law(code: ModuleType) -> None:
    """One call equals two, from a state of its own, and with an expected share kept."""
    layer, _ = twins(code)
    x, state = leaf(T, B, D), (leaf(L, B, H), leaf(L, B, H))
    for zoneout in (0.0, 0.3):
        layer.zoneout = zoneout
        layer.eval()
        whole, last = layer(x, state)
        head, between = layer(x[:1], state)
        tail, end = layer(x[1:], between)
        want = {"y": whole, "h_n": last[0], "c_n": last[1]}
        assert_near({"y": torch.cat([head, tail]), "h_n": end[0], "c_n": end[1]}, want)


def drops_what_it_should(code: ModuleType) -> None:
    """Nothing when evaluating; when training, the same features at every time step."""
    drops = {"dropout": 0.5, "variational_dropout": 0.5, "recurrent_dropout": 0.5}
    ours, theirs = twins(code, dropout=0.5)
    for name, probability in drops.items():
        setattr(ours, name, probability)
    x, state = leaf(T, B, D), (leaf(L, B, H), leaf(L, B, H))
    assert_near(results(ours.eval(), x, state), results(theirs.eval(), x, state))
    is_dropped = results(ours.train(), x, state)["dx"] == 0
    assert is_dropped.any()
    assert torch.equal(is_dropped.all(0), is_dropped.any(0))


def keeps_the_expected_share(code: ModuleType) -> None:
    """Zoneout when evaluating: of each old state its probability's part, as the op does it."""
    ours, _ = twins(code)
    ours.zoneout = 0.3
    x, (h_0, c_0) = leaf(T, B, D), (leaf(L, B, H), leaf(L, B, H))
    y = x
    for k in range(L):
        w_ih, w_hh, b_ih, b_hh = ours.all_weights[k]
        hold = torch.full((T, 1, 1), 0.3, **WIDE)
        run, family = OPS["recurrence"].forward, OPS["lstm"].LSTM
        weights = {"w_hh": w_hh, "b_hh": b_hh}
        y, _, _ = run(
            family, DenseInput(y, w_ih, b_ih), (h_0[k], c_0[k]), weights, Masks((hold, hold))
        )
    assert_near({"y": ours.eval()(x, (h_0, c_0))[0]}, {"y": y})


LAYER_CHECKS: dict[str, Callable[[ModuleType], None]] = {
    "torch": matches_torch,
    "packed": matches_torch_packed,
    "streaming": obeys_the_streaming_law,
    "dropouts": drops_what_it_should,
    "zoneout": keeps_the_expected_share,
}


def fails_layer(check: Callable[[ModuleType], None], code: ModuleType) -> bool:
    try:
        check(code)
    except AssertionError:
        return True
    return False
