"""What training scripts do to gradients where they lie: clip, scale, accumulate. As in torch.nn.

H is a multiple of the kernels' lanes: their own layout is then the parameter's, and nothing needs a
copy.
"""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from twins import BACKENDS, LAYERS, twins

import carousel
from assertions import assert_near
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from carousel.models.loss import cross_entropy

T, B, D, H = 5, 4, 16, 32
FORMS: list[dict[str, Any]] = [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True}]
COMPUTE_DTYPES = pytest.mark.parametrize("compute_dtype", [torch.float32, torch.bfloat16])


def places(tensors: Iterable[Tensor]) -> list[int]:
    return [tensor.untyped_storage().data_ptr() for tensor in tensors]


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def squares(layer: nn.Module, x: Tensor, *, state: Any = None) -> Tensor:
    """A loss that every output and every part of the last state enters."""
    y, last = layer(x, state)
    parts = last if isinstance(last, tuple) else (last,)
    return sum((part.float().square().sum() for part in parts), y.float().square().sum())


@COMPUTE_DTYPES
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*LAYERS, "GRU reset before"])
def test_no_two_gradients_share_memory(
    name: str, form: dict[str, Any], backend: Any, compute_dtype: torch.dtype
) -> None:
    regularization = {"reset_after": False} if name == "GRU reset before" else {}
    layer = getattr(carousel, name.split()[0])(D, H, backend=backend, **form, **regularization)
    x = torch.randn(T, B, D, requires_grad=True)
    rows = T if form.get("batch_first") else B
    width = form.get("num_layers", 1) * (2 if form.get("bidirectional") else 1)
    parts = [torch.randn(width, rows, H, requires_grad=True) for _ in range(2)]
    state = tuple(parts) if name == "LSTM" else parts[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=compute_dtype == torch.bfloat16):
        loss = squares(layer, x, state=state)
    loss.backward()  # type: ignore[no-untyped-call]
    given = [leaf.grad for leaf in (x, *parts) if leaf.grad is not None]
    found = places([*gradients(layer), *given])
    assert len(found) == len(list(layer.parameters())) + (3 if name == "LSTM" else 2)
    assert len(set(found)) == len(found)


@COMPUTE_DTYPES
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("family", ["rnn", "gru", "lstm", "mlp", "transformer"])
def test_nor_do_those_of_a_language_model(
    family: Any, num_layers: int, compute_dtype: torch.dtype
) -> None:
    sizes = {"embedding_size": H, "hidden_size": H, "num_layers": num_layers}
    model = build(ModelConfig(model=family, **sizes), 48)
    ids = torch.randint(48, (B, T))
    with torch.autocast("cpu", torch.bfloat16, enabled=compute_dtype == torch.bfloat16):
        logits, _ = model(ids)
    cross_entropy(logits, ids).mean().backward()  # type: ignore[no-untyped-call]
    found = places(gradients(model))
    assert len(set(found)) == len(found) == len(list(model.parameters()))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("name", LAYERS)
def test_clipping_leaves_the_norm_it_is_told(name: str, options: dict[str, Any]) -> None:
    layer = getattr(carousel, name)(D, H, **options)
    squares(layer, torch.randn(T, B, D)).backward()  # type: ignore[no-untyped-call]
    before = nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    assert before > 1
    assert nn.utils.get_total_norm(gradients(layer)).item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_micro_batches_clipping_and_adam_train_as_with_torchs_layer(name: str) -> None:
    """Two backward passes a step, and gradients set to zero where they lie."""
    pair = twins(name, D, H, 2)
    texts = torch.randn(6, 2, T, B, D)
    for layer in pair:
        adam = torch.optim.Adam(layer.parameters(), lr=1e-2)
        for first, second in texts:
            adam.zero_grad(set_to_none=False)
            for half in (first, second):
                (squares(layer, half) / 2).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
            adam.step()
    theirs, ours = pair
    assert_near(dict(ours.named_parameters()), dict(theirs.named_parameters()), 1e-4)
