"""Which code runs a layer: by argument, or for a while by context manager."""

from threading import Thread

import pytest
import torch

import carousel

X = torch.randn(3, 2, 4)


def by_hand(layer: torch.nn.Module) -> bool:
    """Whether autograd met the hand-derived reverse."""
    y, _ = layer(X)
    seen, todo = set(), [y.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [following for following, _ in node.next_functions]
    return any(node.name() == "RecurrenceBackward" for node in seen)


def test_the_argument_says_what_runs() -> None:
    assert by_hand(carousel.GRU(4, 5))
    assert by_hand(carousel.GRU(4, 5, backend="bptt"))
    assert not by_hand(carousel.GRU(4, 5, backend="autograd"))


def test_the_context_says_what_auto_means() -> None:
    auto, bptt = carousel.LSTM(4, 5), carousel.LSTM(4, 5, backend="bptt")
    with carousel.backend("autograd"):
        assert not by_hand(auto)
        assert by_hand(bptt)  # it named its own
        with carousel.backend("auto"):
            assert by_hand(auto)
        assert not by_hand(auto)
        assert not by_hand(carousel.RNN(4, 5))
    assert by_hand(auto)


def test_the_context_ends_with_an_error_too() -> None:
    layer = carousel.RNN(4, 5)
    with pytest.raises(KeyError), carousel.backend("autograd"):
        raise KeyError
    assert by_hand(layer)


def test_the_context_holds_in_its_own_thread_alone() -> None:
    layer, elsewhere = carousel.RNN(4, 5), []
    with carousel.backend("autograd"):
        thread = Thread(target=lambda: elsewhere.append(by_hand(layer)))
        thread.start()
        thread.join()
    assert elsewhere == [True]


def test_cells_listen_too() -> None:
    cell = carousel.GRUCell(4, 5)
    x = X[0].clone().requires_grad_()
    with carousel.backend("autograd"):
        (first,) = torch.autograd.grad(cell(x).square().sum(), x, create_graph=True)
    assert first.requires_grad
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(cell(x).square().sum(), x, create_graph=True)


def test_an_unknown_backend_is_refused() -> None:
    message = r"backend must be one of \('auto', 'autograd', 'bptt', 'fused'\), got 'cuda'"
    with pytest.raises(ValueError, match=message), carousel.backend("cuda"):
        pass
