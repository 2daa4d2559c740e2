"""What torch.nn's LSTM and GRU lack: variants by their definition, and what goes with what."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from twins import (
    VARIANTS,
    B,
    D,
    H,
    P,
    T,
    Tensors,
    called,
    inputs,
    made,
    normal,
    results,
    state_for,
    wide,
    with_gradients,
)

import carousel
from assertions import assert_near
from definitions import DEFINITIONS

# The definition's word for each parameter.
WORDS = {
    "weight_ih_l0": "w_ih",
    "weight_hh_l0": "w_hh",
    "bias_ih_l0": "b_ih",
    "bias_hh_l0": "b_hh",
    "weight_hr_l0": "w_hr",
    "weight_ci_l0": "w_ci",
    "weight_cf_l0": "w_cf",
    "weight_co_l0": "w_co",
    "norm_ih_l0": "gain",
    "norm_hh_l0": "gain_hh",
    "norm_c_l0": "gain_c",
    "norm_c_bias_l0": "shift_c",
}
DEFINED = {
    "RNN": "rnn_tanh",
    "RNN relu": "rnn_relu",
    "GRU": "gru",
    "GRU reset before": "gru_reset_before",
    "LSTM": "lstm",
    "LSTM projected": "lstm_projection",
    "LSTM peephole": "lstm_peephole",
    "LSTM peephole projected": "lstm_peephole_projection",
    "LSTM coupled": "lstm_coupled",
    "LSTM 1997": "lstm_1997",
    "LSTM layer norm": "lstm_layer_norm",
}


def one_layer(variant: str, **options: Any) -> Any:
    torch.manual_seed(0)
    family = getattr(carousel, variant.split()[0])
    return wide(family(D, H, dtype=torch.float64, **VARIANTS[variant], **options))


@pytest.mark.parametrize("backend", ["bptt", "autograd"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("variant", DEFINED)
def test_a_variant_computes_its_definition(variant: str, bias: bool, backend: str) -> None:
    layer = one_layer(variant, bias=bias, backend=backend)
    x, state = normal(T, B, D), state_for(layer, B)
    weights = {WORDS[name]: p for name, p in layer.named_parameters()} | {"x": x}
    last, outputs = tuple(part[0] for part in state), []
    for x_t in x:
        last = DEFINITIONS[DEFINED[variant]](weights, x_t, last, 1.0)
        outputs.append(last[0])
    want: Tensors = {"y": torch.stack(outputs), "h_n": last[0][None]}
    if len(last) == 2:
        want["c_n"] = last[1][None]
    assert_near(results(layer, x, state), with_gradients(layer, want, inputs(x, state)))


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({"peephole": True}, {f"weight_c{gate}_l0": (H,) for gate in "ifo"}),
        (
            {"layer_norm": True},
            {"norm_ih_l0": (4 * H,), "norm_hh_l0": (4 * H,), "norm_c_l0": (H,)}
            | {"norm_c_bias_l0": (H,)},
        ),
        ({"zoneout": 0.1, "recurrent_dropout": 0.2, "variational_dropout": 0.3}, {}),
    ],
)
def test_extras_add_their_parameters_behind_torchs(
    options: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> None:
    torch.manual_seed(7)
    theirs = nn.LSTM(D, H).state_dict()
    torch.manual_seed(7)
    ours = carousel.LSTM(D, H, **options).state_dict()
    assert list(ours) == [*theirs, *shapes]
    assert_near({name: ours[name] for name in theirs}, theirs, 0.0)
    for name, shape in shapes.items():
        assert ours[name].shape == shape
        if name.startswith("weight"):
            assert 0 < ours[name].abs().min() < ours[name].abs().max() <= H**-0.5
        else:
            assert (ours[name] == (0 if "bias" in name else 1)).all()


@pytest.mark.parametrize("options", [{"coupled": True}, {"forget_gate": False}])
def test_three_gates_have_three_blocks(options: dict[str, Any]) -> None:
    layer = carousel.LSTM(D, H, 2, bidirectional=True, **options)
    assert layer.weight_ih_l1_reverse.shape == (3 * H, 2 * H)
    assert layer.bias_hh_l0.shape == (3 * H,)


FIELDS = ("coupled=True", "forget_gate=False", "layer_norm=True")
CLASHES = [
    (a, b)
    for k, a in enumerate(FIELDS)
    for b in (*FIELDS[k + 1 :], "peephole=True", "recurrent_dropout=0.1", f"proj_size={P}")
]


@pytest.mark.parametrize(("a", "b"), CLASHES)
def test_what_is_not_verified_together_is_refused(a: str, b: str) -> None:
    options = eval(f"dict({a}, {b})")
    message = f"{a} with {b} is not verified; use one without the other"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        carousel.LSTM(D, H, **options)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"zoneout": 1.5}, ValueError, "zoneout must be a probability in [0, 1], got 1.5"),
        (
            {"recurrent_dropout": -0.1},
            ValueError,
            "recurrent_dropout must be a probability in [0, 1], got -0.1",
        ),
        (
            {"variational_dropout": True},
            ValueError,
            "variational_dropout must be a probability in [0, 1], got True",
        ),
        ({"peephole": 1}, TypeError, "peephole must be of type bool, got int"),
        ({"forget_gate": None}, TypeError, "forget_gate must be of type bool, got NoneType"),
    ],
)
def test_extras_are_checked(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        carousel.LSTM(D, H, **options)


def test_extras_are_given_by_name_alone() -> None:
    with pytest.raises(TypeError, match="positional"):
        carousel.LSTM(D, H, 1, True, False, 0.0, False, 0, None, None, True)  # type: ignore[misc]
    with pytest.raises(TypeError, match="reset_after"):
        carousel.GRU(D, H, reset_after=1)


DROPOUTS = {"zoneout": 0.3, "variational_dropout": 0.4}


@pytest.mark.parametrize(
    "options",
    [
        VARIANTS["LSTM all dropouts"] | {"bidirectional": True},
        {"recurrent_dropout": 0.5},
        DROPOUTS | {"coupled": True},
        DROPOUTS | {"forget_gate": False},
        DROPOUTS | {"layer_norm": True},
    ],
    ids=lambda options: " ".join(options),
)
def test_dropouts_obey_finite_differences(options: dict[str, Any]) -> None:
    """While training, the draws held by a seed; gradcheck is given our reverse."""
    torch.manual_seed(0)
    layer = carousel.LSTM(2, 3, 2, dtype=torch.float64, backend="bptt", **options)
    wide(layer)
    x, state = normal(3, 2, 2), state_for(layer, 2)
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Tensor, h_0: Tensor, c_0: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(3)
        own = dict(zip(names, parameters, strict=True))
        y, last = torch.func.functional_call(layer, own, (x, (h_0, c_0)))
        return y, *last

    assert torch.autograd.gradcheck(run, (x, *state, *layer.parameters()), fast_mode=True)
    torch.manual_seed(3)
    drawn = called(layer, x, state)
    assert not torch.equal(drawn["y"], called(layer.eval(), x, state)["y"])


@pytest.mark.parametrize("variant", ["LSTM all dropouts", "LSTM zoneout", "GRU reset before"])
def test_backends_give_the_same_numbers(variant: str) -> None:
    layer = made(variant, bidirectional=True, backend="bptt").train()
    x, state = normal(T, B, D), state_for(layer, B)
    by_hand = results(layer, x, state)
    layer.backend = "autograd"
    assert_near(by_hand, results(layer, x, state))
