"""What users of torch.nn.MultiheadAttention rely on beside its numbers: names, copies, types."""

import copy
import inspect
import io
import pickle
from typing import Any

import pytest
import torch
from attending import B, E, N, S, T, attended, attentions, results
from torch import nn
from twins import normal

import carousel
from assertions import assert_near

VARIANTS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"add_bias_kv": True, "add_zero_attn": True, "dropout": 0.1},
    {"kdim": 3, "vdim": 5, "batch_first": True},
    {"kdim": 3, "bias": False, "add_bias_kv": True},
    {"vdim": E, "kdim": E, "dtype": torch.float64},
]
each_variant = pytest.mark.parametrize("options", VARIANTS, ids=range(len(VARIANTS)))


@each_variant
def test_the_same_seed_gives_torchs_initial_parameters(options: dict[str, Any]) -> None:
    torch.manual_seed(7)
    theirs = nn.MultiheadAttention(E, N, **options)
    torch.manual_seed(7)
    ours = carousel.MultiheadAttention(E, N, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert_near(ours.state_dict(), theirs.state_dict(), 0.0)
    first = copy.deepcopy(ours.state_dict())
    for parameter in ours.parameters():
        nn.init.constant_(parameter, 9)
    torch.manual_seed(7)
    ours.reset_parameters()
    assert_near(ours.state_dict(), first, 0.0)
    for layer in (theirs, ours):
        torch.manual_seed(8)
        layer._reset_parameters()
    assert_near(ours.state_dict(), theirs.state_dict(), 0.0)


@each_variant
def test_repr_and_attributes_are_torchs(options: dict[str, Any]) -> None:
    theirs, ours = attentions(**options)
    assert repr(ours) == repr(theirs)
    names = {key for key in theirs.__dict__ if not key.startswith("_")} | {"_qkv_same_embed_dim"}
    assert {"embed_dim", "kdim", "vdim", "num_heads", "dropout", "batch_first", "head_dim"} < names
    for name in names | set(theirs._parameters):
        want = getattr(theirs, name)
        if isinstance(want, torch.Tensor):
            assert torch.equal(getattr(ours, name), want)
        else:
            assert getattr(ours, name) == want
    assert isinstance(ours.out_proj, nn.Linear)


def test_repr_shows_what_torch_lacks() -> None:
    layer = carousel.MultiheadAttention(E, N, backend="bptt")
    assert "MultiheadAttention(\n  backend='bptt'\n" in repr(layer)


def test_arguments_and_defaults_are_torchs() -> None:
    for name in ("__init__", "forward", "merge_masks"):
        theirs, ours = (
            inspect.signature(getattr(kind, name)).parameters.values()
            for kind in (nn.MultiheadAttention, carousel.MultiheadAttention)
        )
        positional = [(p.name, p.default) for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert positional == [(p.name, p.default) for p in theirs]


def test_positional_arguments_arrive() -> None:
    arguments = (E, N, 0.3, False, True, True, 3, 5, True)
    ours = carousel.MultiheadAttention(*arguments, "meta", torch.float64)
    theirs = nn.MultiheadAttention(*arguments, "meta", torch.float64)
    for name, parameter in theirs.state_dict().items():
        own = ours.state_dict()[name]
        assert (own.shape, own.dtype) == (parameter.shape, parameter.dtype)
        assert own.is_meta
    theirs, ours = attentions(*arguments[:2], **dict(zip(NAMES, arguments[2:], strict=True)))
    torch.manual_seed(0)
    inputs = (torch.randn(B, T, E), torch.randn(B, S, 3), torch.randn(B, S, 5))
    hides = torch.randn(T, S) < 0
    given = (None, False, hides, False, False)
    torch.manual_seed(0)
    want = theirs(*inputs, *given)[0]
    torch.manual_seed(0)
    torch.testing.assert_close(ours(*inputs, *given)[0], want)


NAMES = ("dropout", "bias", "add_bias_kv", "add_zero_attn", "kdim", "vdim", "batch_first")


@each_variant
def test_a_state_dict_moves_both_ways(options: dict[str, Any]) -> None:
    theirs, ours = (
        nn.MultiheadAttention(E, N, **options),
        carousel.MultiheadAttention(E, N, **options),
    )
    ours.reset_parameters()
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    theirs.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert_near(theirs.state_dict(), ours.state_dict(), 0.0)
    ours.reset_parameters()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert_near(ours.state_dict(), theirs.state_dict(), 0.0)


@pytest.mark.parametrize("form", ["self", "cross"])
def test_one_sequence_alone_is_a_batch_of_one(form: str) -> None:
    _, ours = attentions(batch_first=True, dtype=torch.float64)
    query = normal(T, E)
    key = query if form == "self" else normal(S, E)
    given = {"attn_mask": torch.randn(N, T, len(key), dtype=torch.float64)}
    for average in (True, False):
        own = {**given, "average_attn_weights": average}
        got = attended(ours, (query, key, key), **own)
        batch = attended(ours, (query[None], key[None], key[None]), **own)
        assert_near(got, {name: tensor[0] for name, tensor in batch.items()})


def test_copies_live_their_own_life() -> None:
    _, ours = attentions(dtype=torch.float64, add_bias_kv=True)
    inputs = (normal(T, B, E), normal(S, B, E), normal(S, B, E))
    want = results(ours, inputs)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert_near(results(twin, inputs), want, 0.0)
        assert repr(twin) == repr(ours)
        for parameter in twin.parameters():
            nn.init.zeros_(parameter)
        assert_near(results(ours, inputs), want, 0.0)


@pytest.mark.parametrize(
    ("convert", "dtype"),
    [
        (lambda layer: layer.half(), torch.float16),
        (lambda layer: layer.bfloat16(), torch.bfloat16),
        (lambda layer: layer.to(torch.float64), torch.float64),
    ],
    ids=["half", "bfloat16", "double"],
)
@pytest.mark.parametrize("need_weights", [True, False])
def test_to_another_precision(convert: Any, dtype: torch.dtype, need_weights: bool) -> None:
    theirs, ours = (convert(layer) for layer in attentions(add_bias_kv=True, add_zero_attn=True))
    x = torch.randn(T, B, E).to(dtype).requires_grad_()
    bound = {torch.float16: 0.01, torch.bfloat16: 0.05, torch.float64: 1e-12}[dtype]
    for kind in (torch.bool, dtype):
        own = {"attn_mask": torch.zeros(T, T, dtype=kind), "need_weights": need_weights}
        want = results(theirs, (x, x, x), **own)
        assert all(tensor.dtype == dtype for tensor in want.values())
        assert_near(results(ours, (x, x, x), **own), want, bound)


def test_on_the_meta_device_it_tells_shapes_only() -> None:
    layer = carousel.MultiheadAttention(E, N, device="meta", add_bias_kv=True, add_zero_attn=True)
    query, key = torch.empty(T, B, E, device="meta"), torch.empty(S, B, E, device="meta")
    hides = torch.zeros(T, S, dtype=torch.bool, device="meta")
    for need_weights in (True, False):
        y, weights = layer(query, key, key, attn_mask=hides, need_weights=need_weights)
        assert y.is_meta
        assert y.shape == (T, B, E)
        assert weights is None or weights.shape == (B, T, S + 2)


def test_a_layer_in_place_of_the_output_projection_is_called() -> None:
    """As those of low rank are, which stand in its place and hold it."""
    _, ours = attentions()
    x = torch.randn(T, B, E)
    want = 2 * ours(x, x, x)[0]
    inner = ours.out_proj
    ours.out_proj = nn.Sequential(inner, Doubled())
    ours.out_proj.weight = inner.weight
    torch.testing.assert_close(ours(x, x, x)[0], want, rtol=0, atol=0)


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.mark.parametrize("axes", [(), (B * N,)], ids=["for all", "for each"])
def test_merged_masks_are_torchs(axes: tuple[int, ...]) -> None:
    theirs, ours = attentions(batch_first=True)
    x, of_keys, of_pairs = torch.randn(B, T, E), torch.randn(B, T), torch.randn(*axes, T, T)
    for given in ((None, None), (None, of_keys), (of_pairs, None), (of_pairs, of_keys)):
        got, want = ours.merge_masks(*given, x), theirs.merge_masks(*given, x)
        assert got[1] == want[1]
        torch.testing.assert_close(got[0], want[0], rtol=0, atol=0)
