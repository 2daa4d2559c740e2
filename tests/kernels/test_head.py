"""The kernels of what a model ends in, linear map and cross-entropy, against double precision."""

import pytest
import torch
from calls import assert_same_numbers
from torch import Tensor
from torch.nn import functional as F

import carousel
from carousel.kernels import cross_entropy as loss_kernel
from carousel.kernels import fused
from carousel.kernels import linear as linear_kernel
from carousel.nn.cross_entropy import cross_entropy
from carousel.nn.linear import linear

pytestmark = pytest.mark.skipif(
    (why := fused.unavailable_reason(torch.float32)) is not None, reason=f"no kernels here: {why}"
)
needs_bf16 = pytest.mark.skipif(
    (no_bf16 := fused.unavailable_reason(torch.bfloat16)) is not None,
    reason=f"no bfloat16: {no_bf16}",
)

Sizes = tuple[int, int, int, int]  # B, T, P, V
SIZES: list[Sizes] = [(1, 1, 1, 1), (2, 3, 5, 7), (3, 70, 48, 33), (9, 65, 20, 80)]
each_size = pytest.mark.parametrize("sizes", SIZES, ids=str)
on_threads = pytest.mark.parametrize("threads", [1, 2], indirect=True)

Tensors = dict[str, Tensor]


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def inputs(sizes: Sizes) -> Tensors:
    B, T, P, V = sizes
    generator = torch.Generator().manual_seed(sum(sizes))
    return {
        "h": torch.randn(B, T, P, generator=generator),
        "weight": torch.randn(V, P, generator=generator),
        "bias": torch.randn(V, generator=generator),
    }


def leaves_of(given: Tensors, dtype: torch.dtype) -> Tensors:
    """Leaves that ask for gradients, h with time first in memory, as recurrences give it."""
    leaves = {name: tensor.to(dtype) for name, tensor in given.items()}
    leaves["h"] = leaves["h"].transpose(0, 1).contiguous().transpose(0, 1)
    return {name: tensor.requires_grad_() for name, tensor in leaves.items()}


def with_gradients(z: Tensor, leaves: Tensors) -> Tensors:
    generator = torch.Generator().manual_seed(1)
    dz = torch.randn(z.shape, generator=generator).to(z.dtype)
    gradients = torch.autograd.grad(z, list(leaves.values()), dz, retain_graph=True)
    return {"z": z} | dict(zip(leaves, gradients, strict=True))


def mapped(given: Tensors) -> Tensors:
    leaves = leaves_of(given, torch.float32)
    h, weight, bias = leaves["h"], leaves["weight"], leaves.get("bias")
    assert linear_kernel.unsupported_reason(h, weight, bias, torch.bfloat16) is None
    with torch.autocast("cpu", torch.bfloat16):
        z = linear(h, weight, bias)
    return with_gradients(z, leaves)


def mapped_in_double(given: Tensors) -> Tensors:
    leaves = leaves_of(given, torch.float64)
    return with_gradients(F.linear(*leaves.values()), leaves)


def rounded(given: Tensors) -> Tensors:
    """What the products are of; the bias is none of it."""
    return given | {name: given[name].bfloat16().float() for name in ("h", "weight")}


@needs_bf16
@each_size
@on_threads
def test_a_linear_map_of_bfloat16_and_its_gradients(sizes: Sizes, threads: int) -> None:
    """What was rounded to begin with aside, a logit is right to seven digits, a gradient to two."""
    given = inputs(sizes)
    for names in (["h", "weight", "bias"], ["h", "weight"]):
        some = {name: given[name] for name in names}
        got, exact = mapped(some), mapped_in_double(rounded(some))
        assert {tensor.dtype for tensor in got.values()} == {torch.float32}
        assert_same_numbers({"z": got["z"]}, {"z": exact["z"]}, 1e-6)
        assert_same_numbers(got, mapped_in_double(some), 1e-2)


@needs_bf16
def test_without_autocast_nothing_is_rounded() -> None:
    given = inputs((2, 3, 5, 7))
    assert torch.equal(linear(*given.values()), F.linear(*given.values()))
    half = {name: tensor.bfloat16() for name, tensor in given.items()}
    assert torch.equal(linear(*half.values()), F.linear(*half.values()))


def test_logits_lie_in_memory_as_they_are_read() -> None:
    given = inputs((2, 3, 5, 7))
    z = linear(*leaves_of(given, torch.float32).values())
    assert z.is_contiguous()
    assert_same_numbers({"z": z}, {"z": F.linear(*given.values())}, 5e-6)


def losses_with_gradient(z: Tensor, targets: Tensor) -> Tensors:
    z = z.transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    return with_gradients(cross_entropy(z, targets), {"logits": z})


@each_size
@on_threads
def test_the_loss_and_its_gradient(sizes: Sizes, threads: int) -> None:
    B, T, _, V = sizes
    z = 3 * torch.randn(B, T, V, generator=torch.Generator().manual_seed(V))
    targets = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(T))
    assert loss_kernel.unsupported_reason(z, targets) is None
    got, want = losses_with_gradient(z, targets), losses_with_gradient(z.double(), targets)
    if V == 1:  # both are exactly zero
        assert all(torch.equal(got[name].double(), want[name]) for name in want)
    assert_same_numbers(got, want, 1e-6)


def test_the_surest_and_the_wrongest_prediction_have_a_loss() -> None:
    """e^1000 is no number and 1 - e^-40 is 1; differences of logits are numbers all the same."""
    z = torch.tensor([1000.0, 0.0, 960.0])
    for target, loss in ((0, 0.0), (1, 1000.0), (2, 40.0)):
        assert cross_entropy(z, torch.tensor(target)).item() == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_logit_that_is_no_number_is_not_hidden(bad: float) -> None:
    z = torch.zeros(1, 2, 5)
    z[0, 1, 3] = bad
    losses = cross_entropy(z, torch.zeros(1, 2, dtype=torch.long))
    assert losses.isfinite().tolist() == [[True, False]]


@pytest.mark.parametrize("target", [-1, 7])
def test_a_target_that_is_no_class_is_refused(target: int) -> None:
    with pytest.raises(IndexError, match="outside the 7 classes"):
        cross_entropy(torch.zeros(1, 2, 7), torch.tensor([[0, target]]))


@needs_bf16
def test_forwards_before_their_backwards_and_one_backward_twice() -> None:
    given, other = inputs((3, 70, 48, 33)), inputs((3, 70, 48, 32))
    targets = torch.zeros(3, 70, dtype=torch.long)
    want = mapped(given)
    leaves = leaves_of(given, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        z = linear(*leaves.values())
    loss = cross_entropy(z, targets)
    first = torch.autograd.grad(loss.sum(), z, retain_graph=True)[0]
    mapped(other)
    losses_with_gradient(torch.zeros(3, 70, 33), targets)
    again = torch.autograd.grad(loss.sum(), z, retain_graph=True)[0]
    assert torch.equal(again, first)
    for _ in range(2):
        assert all(torch.equal(d, want[name]) for name, d in with_gradients(z, leaves).items())


@needs_bf16
def test_a_second_derivative_is_refused() -> None:
    leaves = leaves_of(inputs((2, 3, 5, 7)), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        z = linear(*leaves.values())
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(z.sum(), leaves["h"], create_graph=True)


@pytest.mark.parametrize("backend", ["autograd", "bptt"])
def test_other_backends_do_without(backend: str) -> None:
    given, targets = inputs((2, 3, 5, 7)), torch.ones(2, 3, dtype=torch.long)
    with carousel.backend(backend):
        z = linear(*given.values())
        losses = cross_entropy(z.double(), targets)
    assert torch.equal(z, F.linear(*given.values()))
    assert losses.dtype == torch.float64
