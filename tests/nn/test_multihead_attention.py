"""carousel.MultiheadAttention in the place of torch's: the same outputs, weights and gradients."""

from typing import Any, NamedTuple

import pytest
import torch
from attending import B, E, N, S, T, attended, attentions, causal, mask, results
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from twins import BACKENDS, Tensors, normal

from assertions import assert_near
from budgets import amount, torture

ignoring_mixtures = pytest.mark.filterwarnings(
    "ignore:Support for mismatched key_padding_mask", "ignore:attn_mask is .* use one type for both"
)


class Case(NamedTuple):
    """Twins of random settings, query, key and value, and what else they are called with."""

    theirs: Any
    ours: Any
    inputs: tuple[Tensor, ...]
    given: dict[str, Any]


@st.composite
def cases(draw: st.DrawFn, dtype: torch.dtype, least: int) -> Case:
    """Draw a case. Each query sees two keys at least: of one alone the gradients are 0, and noise.

    Not among them, for there torch's own two paths differ: a query that sees nothing, and the
    causal hint beside keys that the layer brings along.
    """
    heads, width, batch = (draw(st.integers(least // 2 or 1, 4)) for _ in range(3))
    steps, keys = (draw(st.integers(max(2, least), least + 5)) for _ in range(2))
    form = draw(st.sampled_from(["self", "key is value", "three", "three of other features"]))
    features = heads * width
    of_key = draw(st.integers(least, 9)) if form == "three of other features" else features
    of_value = draw(st.integers(least, 9)) if form == "three of other features" else features
    keys = steps if form == "self" else keys
    is_causal = draw(st.booleans())
    theirs, ours = attentions(
        features,
        heads,
        dropout=draw(st.sampled_from([0.0, 0.3])),
        bias=draw(st.booleans()),
        add_bias_kv=not is_causal and draw(st.booleans()),
        add_zero_attn=not is_causal and draw(st.booleans()),
        kdim=None if of_key == features else of_key,
        vdim=None if of_value == features else of_value,
        batch_first=draw(st.booleans()),
        dtype=dtype,
        backend=draw(st.sampled_from(BACKENDS)),
    )
    rows = (batch,) if draw(st.booleans()) else ()
    batch = batch if rows else 1

    def leaf(steps: int, size: int) -> Tensor:
        shape = (*rows, steps, size) if ours.batch_first else (steps, *rows, size)
        return normal(*shape, dtype=dtype)

    query = leaf(steps, features)
    key = query if form == "self" else leaf(keys, of_key)
    value = key if form in ("self", "key is value") else leaf(keys, of_value)
    seen = [0, 1] if is_causal else draw(st.permutations(range(keys)))[:2]
    kind, kind_of_padding = (draw(st.sampled_from([None, "bool", "float"])) for _ in range(2))
    if is_causal:
        attn_mask: Any = causal(kind or "bool", steps, keys, dtype)
    else:
        axes = draw(st.sampled_from([(), (batch * heads,)]))
        attn_mask = mask(kind, *axes, steps, keys, seen=seen, dtype=dtype)
    padding = mask(kind_of_padding, *rows, keys, seen=seen, dtype=dtype)
    if padding is not None and dtype == torch.float32:
        padding = (
            padding.detach()
        )  # its gradient is a sum that cancels: few digits, torch's as well
    is_training = draw(st.booleans())
    return Case(
        theirs.train(is_training),
        ours.train(is_training),
        (query, key, value),
        {
            "key_padding_mask": padding,
            "need_weights": draw(st.booleans()),
            "attn_mask": attn_mask,
            "average_attn_weights": draw(st.booleans()),
            "is_causal": is_causal,
        },
    )


@torture
@ignoring_mixtures
@pytest.mark.parametrize(
    ("dtype", "least", "trials"),
    [(torch.float64, 1, (250, 5000)), (torch.float32, 6, (80, 2000))],
    ids=["double", "single"],
)
def test_it_matches(dtype: torch.dtype, least: int, trials: tuple[int, int]) -> None:
    """With dropout too: from the same seed torch drops the same weights, needed or not.

    In single precision not at tiny sizes: a lone number may cancel.
    """

    @settings(max_examples=amount(*trials), derandomize=True)
    @given(cases(dtype, least))
    def holds(case: Case) -> None:
        got = results(case.ours, case.inputs, **case.given)
        assert_near(got, results(case.theirs, case.inputs, **case.given))

    holds()


def cross(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Query (T, B, E), key and value (S, B, E)."""
    return normal(T, B, E, dtype=dtype), normal(S, B, E, dtype=dtype), normal(S, B, E, dtype=dtype)


@ignoring_mixtures
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("of_keys", [None, "bool", "float"])
@pytest.mark.parametrize("axes", [(), (B * N,)], ids=["for all", "for each"])
@pytest.mark.parametrize("kind", [None, "bool", "float"])
def test_every_pair_of_masks(
    kind: str | None, axes: tuple[int, ...], of_keys: str | None, need_weights: bool, backend: Any
) -> None:
    theirs, ours = attentions(dtype=torch.float64, backend=backend, add_bias_kv=True)
    given = {
        "attn_mask": mask(kind, *axes, T, S, seen=[2, 5], dtype=torch.float64),
        "key_padding_mask": mask(of_keys, B, S, seen=[2, 5], dtype=torch.float64),
        "need_weights": need_weights,
    }
    inputs = cross()
    assert_near(results(ours, inputs, **given), results(theirs, inputs, **given))


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("of_keys", [None, "bool"])
@pytest.mark.parametrize("kind", [None, "bool"])
def test_it_matches_what_torch_runs_without_gradients(
    kind: str | None, of_keys: str | None, need_weights: bool
) -> None:
    """There torch takes another path, one kernel for the whole layer."""
    theirs, ours = (layer.eval() for layer in attentions(batch_first=True, dtype=torch.float64))
    x = normal(B, T, E)
    given = {
        "attn_mask": mask(kind, T, T, seen=[1], dtype=torch.float64),
        "key_padding_mask": mask(of_keys, B, T, seen=[1], dtype=torch.float64),
        "need_weights": need_weights,
    }
    for average in (True, False):
        own = {**given, "average_attn_weights": average}
        with torch.no_grad():
            assert_near(attended(ours, (x, x, x), **own), attended(theirs, (x, x, x), **own))


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_query_that_sees_nothing_takes_nothing(need_weights: bool, backend: Any) -> None:
    """torch: nan with the weights, as here without them."""
    theirs, ours = attentions(dtype=torch.float64, backend=backend)
    attn_mask = torch.zeros(T, S, dtype=torch.float64)
    attn_mask[1] = float("-inf")
    attn_mask.requires_grad_()
    inputs, blind = cross(), torch.tensor([k == 1 for k in range(T)])
    own = {"attn_mask": attn_mask, "need_weights": need_weights}
    got, want = results(ours, inputs, **own), results(theirs, inputs, **own)
    assert all(tensor.isfinite().all() for tensor in got.values())
    assert torch.equal(got["y"][blind], ours.out_proj.bias.expand(1, B, E))
    assert (got["dquery"][blind] == 0).all()
    assert (got["dattn_mask"][blind] == 0).all()
    if need_weights:
        assert (got["weights"][:, blind] == 0).all()
        assert want["y"][blind].isnan().all()
        assert_near({"y": got["y"][~blind]}, {"y": want["y"][~blind]})
    else:
        assert_near(got, want)


def test_a_sequence_of_padding_takes_nothing() -> None:
    _, ours = attentions(dtype=torch.float64)
    is_padding = torch.zeros(B, S, dtype=torch.bool)
    is_padding[1] = True
    for need_weights in (True, False):
        got = results(ours, cross(), key_padding_mask=is_padding, need_weights=need_weights)
        assert torch.equal(got["y"][:, 1], ours.out_proj.bias.expand(T, E))
        for name in ("dquery", "dkey", "dvalue"):
            assert (got[name][:, 1] == 0).all()
            assert (got[name][:, 0] != 0).any()


@pytest.mark.parametrize("keys", [T, S], ids=["square", "oblong"])
@pytest.mark.parametrize("own", [False, True], ids=["given keys", "own keys"])
@pytest.mark.parametrize("has_padding", [False, True])
@pytest.mark.parametrize("need_weights", [True, False])
def test_the_causal_hint_changes_nothing(
    keys: int, own: bool, has_padding: bool, need_weights: bool
) -> None:
    _, ours = attentions(add_bias_kv=own, add_zero_attn=own, dtype=torch.float64)
    given: dict[str, Any] = {"need_weights": need_weights}
    given["attn_mask"] = causal("bool", T, keys, torch.float64)
    if has_padding:
        given["key_padding_mask"] = mask("bool", B, keys, seen=[0], dtype=torch.float64)
    inputs = (normal(T, B, E), normal(keys, B, E), normal(keys, B, E))
    want = results(ours, inputs, **given)
    assert_near(results(ours, inputs, **given, is_causal=True), want)


def test_the_causal_hint_spares_reading_the_mask() -> None:
    theirs, ours = attentions(dtype=torch.float64)
    x = normal(T, B, E)
    unread = torch.full((T, T), float("nan"), dtype=torch.float64)
    own = {"attn_mask": unread, "is_causal": True, "need_weights": False}
    assert_near(results(ours, (x, x, x), **own), results(theirs, (x, x, x), **own))


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_is_drawn_while_training_only(need_weights: bool) -> None:
    _, without = attentions(dtype=torch.float64)
    _, ours = attentions(dropout=0.5, dtype=torch.float64)
    inputs = cross()
    own = {"need_weights": need_weights}
    assert not torch.equal(ours(*inputs, **own)[0], ours(*inputs, **own)[0])
    assert_near(attended(ours.eval(), inputs, **own), attended(without, inputs, **own), 0.0)


def test_the_weights_are_told_after_dropout() -> None:
    """What is told is what the values are averaged with: 0, or 1/(1 - p) times the softmax."""
    _, ours = attentions(dropout=0.5, dtype=torch.float64)
    inputs = cross()
    own = {"average_attn_weights": False}
    kept, all_of_them = attended(ours, inputs, **own), attended(ours.eval(), inputs, **own)
    dropped = kept["weights"] == 0
    assert 0.35 < dropped.double().mean() < 0.65
    doubled = (2 * all_of_them["weights"]).masked_fill(dropped, 0)
    torch.testing.assert_close(kept["weights"], doubled, rtol=1e-12, atol=0)
    assert_near(attended(ours.train(), inputs, need_weights=False), {"y": kept["y"]}, 0.0)


@pytest.mark.parametrize("shape", [(0, S, B), (T, 0, B), (0, 0, B), (T, S, 0)], ids=str)
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_query_no_key_or_no_sequence(
    shape: tuple[int, int, int], need_weights: bool, backend: Any
) -> None:
    theirs, ours = attentions(dtype=torch.float64, backend=backend)
    queries, keys, rows = shape
    inputs = (normal(queries, rows, E), normal(keys, rows, E), normal(keys, rows, E))
    own: dict[str, Any] = {"need_weights": need_weights}
    want = results(theirs, inputs, **own)
    assert_near(results(ours, inputs, **own), want)
    own["attn_mask"] = torch.zeros(queries, keys, dtype=torch.float64)  # torch stumbles over some
    own["key_padding_mask"] = torch.zeros(rows, keys, dtype=torch.float64)
    assert_near(results(ours, inputs, **own), want)


@pytest.mark.parametrize("is_training", [True, False])
def test_torchs_transformer_layers_may_hold_it(is_training: bool) -> None:
    torch.manual_seed(0)
    x, memory = normal(B, T, E), normal(B, S, E)
    hides = causal("float", T, T, torch.float64)
    is_padding = torch.arange(T).expand(B, T) >= torch.tensor([[5], [3], [2]])
    options: Any = {"dropout": 0.0, "batch_first": True, "dtype": torch.float64}
    encoder = nn.TransformerEncoderLayer(E, N, 11, **options).train(is_training)
    decoder = nn.TransformerDecoderLayer(E, N, 11, **options).train(is_training)

    def outcome() -> Tensors:
        encoded = encoder(x, src_mask=hides, src_key_padding_mask=is_padding.double() * -9)
        decoded = decoder(x, memory, tgt_mask=hides, tgt_is_causal=True)
        return {"encoded": encoded, "decoded": decoded, "hinted": encoder(x, hides, is_causal=True)}

    want = outcome()
    with torch.no_grad():
        want_without = outcome()
    for layer, name in (
        (encoder, "self_attn"),
        (decoder, "self_attn"),
        (decoder, "multihead_attn"),
    ):
        _, ours = attentions(batch_first=True, dtype=torch.float64)
        ours.load_state_dict(getattr(layer, name).state_dict(), strict=True)
        setattr(layer, name, ours.train(is_training))
    assert_near(outcome(), want)
    with torch.no_grad():
        assert_near(outcome(), want_without)
