"""The fused kernels against ops/ in double precision, and as autograd meets them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from calls import (
    FAMILIES,
    SIZES,
    Tensors,
    asking,
    assert_same_numbers,
    by_kernel,
    by_op,
    ended,
    inputs,
    outputs,
    with_gradients,
)
from torch import Tensor, nn

import carousel
from carousel.kernels import fused
from carousel.kernels.dispatch import FUSED

pytestmark = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)
needs_bf16 = pytest.mark.skipif(
    (no_bf16 := fused.unavailable_reason(torch.bfloat16)) is not None,
    reason=f"no bfloat16: {no_bf16}",
)
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)

BOUND = 5e-6
BOUND_BF16 = 1e-2


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@each_family
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("is_table", [False, True], ids=["dense", "ids"])
def test_values_and_gradients_are_those_of_the_op(
    family: Any, sizes: tuple[int, int, int, int], is_table: bool, threads: int
) -> None:
    given = inputs(family, sizes, is_table=is_table)
    over = [None, ended(sizes, is_sorted=True), ended(sizes, is_sorted=False)]
    for lengths in over:
        want = by_op(family, given, lengths)
        assert_same_numbers(by_kernel(family, given, lengths), want, BOUND)


@needs_bf16
@each_family
@pytest.mark.parametrize("is_table", [False, True], ids=["dense", "ids"])
def test_products_of_bfloat16_stay_near_the_op(family: Any, is_table: bool, threads: int) -> None:
    """A ReLU's slope jumps where bfloat16 crosses zero: a bound holds for its values alone."""
    sizes = (40, 6, 64, 48)
    given = inputs(family, sizes, is_table=is_table)
    want, got = by_op(family, given), by_kernel(family, given, compute_dtype=torch.bfloat16)
    assert got["y"].dtype == torch.bfloat16
    assert got["h_n"].dtype == torch.float32
    if family.name == "rnn_relu":
        want, got = ({name: of[name] for name in ("y", "h_n")} for of in (want, got))
    assert_same_numbers(got, want, BOUND_BF16)


@each_family
def test_biases_may_be_absent(family: Any) -> None:
    given = inputs(family, (4, 3, 5, 6))
    del given["b_ih"], given["b_hh"]
    assert_same_numbers(by_kernel(family, given), by_op(family, given), BOUND)


@pytest.mark.parametrize("compute_dtype", fused.FORWARD, ids=str)
@each_family
def test_a_sequence_in_pieces_is_the_whole(family: Any, compute_dtype: torch.dtype) -> None:
    if fused.unavailable_reason(compute_dtype) is not None:
        compute_dtype = torch.float32
    given = inputs(family, (9, 3, 5, 20))
    whole = outputs(FUSED[compute_dtype], family, given, None)
    state, pieces = {name: given[name] for name in ("h_0", "c_0") if name in given}, []
    for piece in given["x"].split([1, 5, 3]):
        out = outputs(FUSED[compute_dtype], family, given | state | {"x": piece}, None)
        pieces.append(out["y"])
        state = {name: out[name.replace("_0", "_n")] for name in state}
    got = {"y": torch.cat(pieces)}
    got |= {name.replace("_0", "_n"): part for name, part in state.items()}
    # The products of a piece have other shapes; a sum in another order may round to the next bf16.
    assert_same_numbers(got, whole, BOUND if compute_dtype == torch.float32 else 2**-8)


@each_family
def test_without_gradients_the_numbers_are_the_same(family: Any) -> None:
    given = inputs(family, (9, 3, 5, 20))
    want = outputs(FUSED[torch.float32], family, asking(given, torch.float32), None)
    with torch.no_grad():
        got = outputs(FUSED[torch.float32], family, asking(given, torch.float32), None)
    assert all(torch.equal(got[name], want[name]) for name in want)
    assert not got["y"].requires_grad


@each_family
def test_buffers_outlive_what_runs_between_forward_and_backward(family: Any) -> None:
    """Two forwards, then the backwards in both orders, one of them twice: each has its own."""
    first, second = (inputs(family, sizes) for sizes in ((9, 4, 5, 20), (9, 4, 6, 20)))
    want = [by_kernel(family, given) for given in (first, second)]
    leaves = [asking(given, torch.float32) for given in (first, second)]
    results = [outputs(FUSED[torch.float32], family, p, None) for p in leaves]
    with torch.no_grad():  # takes what the pool has
        outputs(FUSED[torch.float32], family, leaves[0], None)
    for k in (0, 1, 0):
        got = with_gradients(results[k], leaves[k], retain_graph=True)
        assert all(torch.equal(got[name], want[k][name]) for name in got)


def test_threads_of_python_do_not_meet() -> None:
    from concurrent.futures import ThreadPoolExecutor

    family = FAMILIES["lstm"]
    given = [inputs(family, (20, 3, 5, 16 + k)) for k in range(4)]
    want = [by_kernel(family, each) for each in given]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, expected in zip(
                pool.map(lambda g: by_kernel(family, g), given), want, strict=True
            ):
                assert all(torch.equal(got[name], expected[name]) for name in expected)


@each_family
def test_the_same_bits_again(family: Any, threads: int) -> None:
    given = inputs(family, (9, 70, 5, 20))
    first, second = by_kernel(family, given), by_kernel(family, given)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("wanted", ["x", "w_ih", "w_hh", "h_0"])
def test_any_input_alone_may_ask_for_its_gradient(wanted: str) -> None:
    family = FAMILIES["gru"]
    given = inputs(family, (5, 3, 4, 6))
    p: Tensors = {name: t.requires_grad_(name == wanted) for name, t in given.items()}
    got = with_gradients(outputs(FUSED[torch.float32], family, p, None), p)
    assert_same_numbers({"d": got[f"d{wanted}"]}, {"d": by_op(family, given)[f"d{wanted}"]}, BOUND)


def test_an_id_outside_the_table_is_refused() -> None:
    family = FAMILIES["lstm"]
    given = inputs(family, (5, 3, 4, 6), is_table=True)
    for id in (-1, 9):
        given["ids"][2, 1] = id
        with pytest.raises(IndexError, match="outside the table of 9 rows"):
            outputs(FUSED[torch.float32], family, given, None)


LAYERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "LSTM": (carousel.LSTM, nn.LSTM),
    "GRU": (carousel.GRU, nn.GRU),
    "RNN": (carousel.RNN, nn.RNN),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_those_of_torch(name: str, threads: int) -> None:
    own, torchs = LAYERS[name]
    torch.manual_seed(0)
    ours, theirs = (
        kind(5, 20, 2, bidirectional=True, **how)
        for kind, how in ((own, {"backend": "fused"}), (torchs, {"dtype": torch.float64}))
    )
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(7, 3, 5)
    packed = nn.utils.rnn.pack_padded_sequence
    for lengths in (None, [7, 4, 1]):
        grads = []
        for layer, data in ((ours, x.clone()), (theirs, x.double())):
            y, last = layer(data.requires_grad_() if lengths is None else packed(data, lengths))
            y, h = y if lengths is None else y.data, last[0] if name == "LSTM" else last
            loss = y.double().square().sum() + h.double().sum()
            of = dict(layer.named_parameters())
            grads.append(
                {"y": y, "h": h}
                | dict(zip(of, torch.autograd.grad(loss, list(of.values())), strict=True))
            )
        assert_same_numbers(grads[0], grads[1], BOUND)


def test_auto_takes_the_kernel_where_it_applies_and_bptt_elsewhere() -> None:
    x = torch.randn(3, 2, 4)
    for layer, dtype, is_fused in (
        (carousel.LSTM(4, 5), torch.float32, True),
        (carousel.LSTM(4, 5, peephole=True), torch.float32, False),
        (carousel.LSTM(4, 5, zoneout=0.1), torch.float32, False),
        (carousel.LSTM(4, 5, proj_size=2), torch.float32, False),
        (carousel.LSTM(4, 5).double(), torch.float64, False),
        (carousel.GRU(4, 5, backend="bptt"), torch.float32, False),
    ):
        y, _ = layer(x.to(dtype))
        cached = [t for t in y.grad_fn.next_functions if "Recurrence" in str(t[0])]
        node = cached[0][0] if cached else y.grad_fn
        while "RecurrenceBackward" not in node.name():
            node = node.next_functions[0][0]
        assert (node.constants[0].name == "fused") is is_fused, layer


def test_fused_where_it_cannot_run_is_refused_in_one_line() -> None:
    x = torch.randn(3, 2, 4)
    for layer, reason in (
        (carousel.LSTM(4, 5, peephole=True, backend="fused"), "no kernel with w_cf, w_ci, w_co"),
        (carousel.LSTM(4, 5, coupled=True, backend="fused"), "no kernel for lstm_coupled"),
        (carousel.LSTM(4, 5, zoneout=0.1, backend="fused"), "no kernel with zoneout or dropout"),
    ):
        with pytest.raises(ValueError, match=f"backend 'fused' cannot run here: .*{reason}"):
            layer(x)
    with pytest.raises(ValueError, match=r"and this is torch\.float64"):
        carousel.LSTM(4, 5, dtype=torch.float64, backend="fused")(x.double())


@needs_bf16
@pytest.mark.parametrize("name", LAYERS)
def test_precision_is_never_silent(name: str) -> None:
    """float32 outside autocast; under it outputs of bfloat16, and a state of float32 throughout."""
    own, _ = LAYERS[name]
    layer, x = own(4, 20, 2), torch.randn(30, 3, 4, requires_grad=True)
    y, last = layer(x)
    assert y.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        y_half, last_half = layer(x)
        y_half.float().square().sum().backward()
    assert y_half.dtype == torch.bfloat16
    for part, half in zip(
        *((of if name == "LSTM" else (of,)) for of in (last, last_half)), strict=True
    ):
        assert half.dtype == torch.float32
        assert_same_numbers({"s": half}, {"s": part}, BOUND_BF16)
    assert x.grad is not None
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())
    half_layer = own(4, 20).bfloat16()
    y, _ = half_layer(x.detach().bfloat16())
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert all(
        p.grad is not None and p.grad.dtype == torch.bfloat16 for p in half_layer.parameters()
    )


POISONED = """
import torch
from calls import FAMILIES, SIZES, assert_same_numbers, by_kernel, by_op, ended, inputs
from carousel.kernels import fused
assert fused.unavailable_reason(torch.float32) is None
for family in FAMILIES.values():
    for sizes in SIZES:
        for is_table in (False, True):
            given = inputs(family, sizes, is_table=is_table)
            for over in (None, ended(sizes, is_sorted=True), ended(sizes, is_sorted=False)):
                got, want = by_kernel(family, given, over), by_op(family, given, over)
                assert_same_numbers(got, want, 5e-6)
print("whole")
"""


def test_nobody_reads_what_nobody_wrote() -> None:
    """Every buffer is filled with what is no number before it is handed out."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", POISONED],
        env=os.environ | {"CAROUSEL_KERNELS_POISON": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split() == ["whole"], run.stderr


def test_off_means_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROUSEL_KERNELS", "off")
    assert fused.status() == dict.fromkeys(("float32", "bfloat16"), "CAROUSEL_KERNELS=off")
    y, _ = carousel.LSTM(4, 5)(torch.randn(3, 2, 4))
    assert isinstance(y, Tensor)
    with pytest.raises(ValueError, match="cannot run here: CAROUSEL_KERNELS=off"):
        carousel.LSTM(4, 5, backend="fused")(torch.randn(3, 2, 4))


def test_a_setting_that_is_none_is_said_once_and_means_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CAROUSEL_KERNELS", "of")
    reason = "CAROUSEL_KERNELS must be 'auto' or 'off', got 'of'"
    for _ in range(2):
        y, _ = carousel.LSTM(4, 5)(torch.randn(3, 2, 4))
    assert isinstance(y, Tensor)
    assert [record.message for record in caplog.records] == [
        f"no CPU kernels, the layers run without: {reason}"
    ]
    with pytest.raises(ValueError, match=f"cannot run here: {reason}"):
        carousel.LSTM(4, 5, backend="fused")(torch.randn(3, 2, 4))
