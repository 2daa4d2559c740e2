"""The checks that run recurrent layers: true of all, and each sees what a layer can do wrong."""

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

import carousel
from anchors import Edit
from budgets import amount, torture
from carousel.ops import recurrence
from carousel.verify.check_result import CheckResult
from carousel.verify.recurrences import RECURRENCES
from carousel.verify.streaming_layers import streaming_layers
from carousel.verify.table import Check, examine
from carousel.verify.torch_nn import BOUNDS, Configuration, compare, draw_configuration, torch_nn
from verify.faults import BY_NAME, planted

LAYERS = {spec.name: spec.layer for spec in RECURRENCES.values()}
IN_TORCH = [name for name, layer in LAYERS.items() if not layer.not_in_torch]


@st.composite
def configurations(draw: Callable[..., Any]) -> Configuration:
    """Everything that a layer of torch.nn is made and called with."""
    d, *features = draw(st.lists(st.integers(3, 9), min_size=3, max_size=3, unique=True))
    p, h = sorted(features)
    others = [size for size in range(1, 10) if size not in (d, p, h)]
    t, b = draw(st.permutations(others))[:2]
    is_batched, is_packed = draw(st.booleans()), draw(st.booleans())
    lengths = st.lists(st.integers(1, t), min_size=b, max_size=b).map(tuple)
    return Configuration(
        sizes=(t, b, d, h, p),
        num_layers=draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        lengths=draw(lengths) if is_batched and is_packed else None,
        is_batched=is_batched,
        has_state=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32)),
    )


@torture
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # torch says so of its own
@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("name", IN_TORCH)
def test_a_layer_is_its_namesake_in_torch(name: str, dtype: torch.dtype) -> None:
    """The same configurations at every run: bad luck with rounding is found once, not some day."""

    @hypothesis.settings(max_examples=amount(50, 1000), derandomize=True, database=None)
    @hypothesis.given(configurations())
    def agrees(chosen: Configuration) -> None:
        figure = compare(LAYERS[name], chosen, dtype)
        assert figure.holds, figure

    agrees()


def test_a_drawn_configuration_has_sizes_that_all_differ() -> None:
    drawn = [draw_configuration(seed, seed % 2 == 0) for seed in range(300)]
    assert all(len(set(chosen.sizes)) == 5 for chosen in drawn)
    assert all(chosen.sizes[4] < chosen.sizes[3] for chosen in drawn)
    for field in ("num_layers", "bias", "batch_first", "bidirectional", "is_batched", "has_state"):
        assert len({getattr(chosen, field) for chosen in drawn}) > 1, field


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in IN_TORCH])
def test_what_torch_lacks_is_said(name: str) -> None:
    for row in (BY_NAME[name], BY_NAME[f"{name}, masked"]):
        for check in ("torch.nn float64", "torch.nn float32"):
            figure = examine(row, Check(check, 2, ""))
            assert figure.reached is None
            assert figure.holds
            assert figure.where == LAYERS[name].not_in_torch


@torture
@pytest.mark.parametrize("zoneout", [0.0, 0.3])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_obeys_the_streaming_law(name: str, zoneout: float) -> None:
    seeds = range(1000, 1000 + amount(3, 100))
    figure = streaming_layers(LAYERS[name], zoneout, seeds)
    assert figure.holds, figure
    assert figure.cases == 3 * len(seeds)


def checks_of(name: str) -> dict[str, CheckResult]:
    layer, seeds = LAYERS[name], range(5)
    return {
        "torch": torch_nn(layer, False, torch.float64, seeds),
        "torch, packed": torch_nn(layer, True, torch.float64, seeds),
        "streaming": streaming_layers(layer, 0.0, seeds),
    }


@pytest.mark.parametrize("name", ["rnn tanh", "gru", "lstm"])
def test_a_layer_that_ignores_its_state_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = LAYERS[name].kind
    true = layer.forward
    monkeypatch.setattr(layer, "forward", lambda self, x, hx=None: true(self, x))
    with pytest.raises(RuntimeError, match=r"have been used in the graph"):
        checks_of(name)  # the state has no gradient at all
    monkeypatch.setattr(layer, "forward", lambda self, x, hx=None: true(self, x, _zeroed(hx)))
    assert not any(figure.holds for figure in checks_of(name).values())


def _zeroed(hx: Any) -> Any:
    return hx if hx is None else tuple(0 * s for s in hx) if isinstance(hx, tuple) else 0 * hx


@pytest.mark.parametrize("name", ["rnn relu", "gru", "lstm"])
def test_a_bias_left_out_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = Edit("multiply", "a if source.b_ih is None else a + source.b_ih", "a")
    monkeypatch.setattr(recurrence, "project", planted(recurrence, edit).project)
    figures = checks_of(name)
    assert not figures["torch"].holds
    assert not figures["torch, packed"].holds


def test_a_batch_packed_in_the_wrong_order_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    true = torch.nn.utils.rnn.PackedSequence

    def forward(self: Any, x: Any, hx: Any = None) -> Any:
        if isinstance(x, true):
            x = x._replace(data=x.data.flip(0))
        return unspoilt(self, x, hx)

    unspoilt = carousel.LSTM.forward
    monkeypatch.setattr(carousel.LSTM, "forward", forward)
    figures = checks_of("lstm")
    assert figures["torch"].holds
    assert not figures["torch, packed"].holds
