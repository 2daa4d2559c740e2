"""First biases of an LSTM that remember: only the gates that are meant, and the sum that counts."""

from typing import Any

import pytest
import torch
from torch import Tensor

import carousel
from carousel.nn.initialization import chrono, set_forget_bias

D, H = 3, 300


def gates(layer: Any) -> dict[str, list[Tensor]]:
    """Each gate's bias, the sum of its two, by layer and direction."""
    names = ("i", "g", "o") if layer.coupled else ("i", "f", "g", "o")
    sums = [weights[2] + weights[3] for weights in layer.all_weights]
    return {name: [b.chunk(len(names))[k] for b in sums] for k, name in enumerate(names)}


def lstm(**options: Any) -> Any:
    return carousel.LSTM(D, H, 2, bidirectional=True, **options)


def test_the_forget_bias_is_the_sum_of_both() -> None:
    layer = lstm()
    before = gates(layer)
    weights = {n: p.clone() for n, p in layer.named_parameters() if n.startswith("weight")}
    set_forget_bias(layer, 1.5)
    after = gates(layer)
    assert all((f == 1.5).all() for f in after.pop("f"))
    assert len(before.pop("f")) == 4
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert all(torch.equal(p, layer.get_parameter(n)) for n, p in weights.items())


def test_a_coupled_gate_forgets_alike() -> None:
    layer = lstm(coupled=True)
    before = gates(layer)
    set_forget_bias(layer, 1.5)
    after = gates(layer)
    assert all((i == -1.5).all() for i in after.pop("i"))
    del before["i"]
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.parametrize("coupled", [False, True])
def test_chrono_spreads_what_is_remembered_evenly(coupled: bool) -> None:
    layer, longest = lstm(coupled=coupled), 101
    before = gates(layer)
    chrono(layer, longest, torch.Generator().manual_seed(0))
    after = gates(layer)
    for k, i in enumerate(after["i"]):
        u = (-i).exp()  # uniform on [1, 100]
        assert 1 <= u.min() < 3
        assert 98 < u.max() <= 100.001
        assert abs(u.mean() - 50.5) < 4 * 99 / (12 * H) ** 0.5
        if not coupled:
            assert torch.equal(after["f"][k], -i)
        assert torch.equal(after["g"][k], before["g"][k])
        assert torch.equal(after["o"][k], before["o"][k])
    assert len({i[0].item() for i in after["i"]}) == 4  # each layer and direction has its own


def test_a_generator_repeats_chrono() -> None:
    drawn = []
    for _ in range(2):
        layer = lstm()
        chrono(layer, 10, torch.Generator().manual_seed(3))
        drawn.append(gates(layer)["f"])
    torch.testing.assert_close(*drawn, rtol=0, atol=0)


@pytest.mark.parametrize(
    "change", [lambda lstm: set_forget_bias(lstm, 1.0), lambda lstm: chrono(lstm, 9)]
)
def test_a_layer_without_the_gate_or_the_bias_is_refused(change: Any) -> None:
    with pytest.raises(ValueError, match="no forget gate"):
        change(carousel.LSTM(2, 3, forget_gate=False))
    with pytest.raises(ValueError, match="no biases"):
        change(carousel.LSTM(2, 3, bias=False))


def test_chrono_refuses_a_time_too_short() -> None:
    with pytest.raises(ValueError, match="longest must be at least 2 time steps, got 1"):
        chrono(carousel.LSTM(2, 3), 1)
