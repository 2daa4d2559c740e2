"""The transformer's block against torch's, weight by weight; its cache; rotary positions."""

import pytest
import torch
from torch import Tensor, nn

from assertions import assert_near
from carousel.nn.transformer import Cache, CausalSelfAttention, TransformerBlock
from hand_derived import random, with_gradients

B, T, D, N, K, H = 3, 7, 20, 5, 4, 6


def randomised(layer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer.double().eval()


def block(context: int, *, is_rotary: bool = False) -> TransformerBlock:
    made = TransformerBlock(D, H, N, context, is_rotary=is_rotary, dropout=0.0)
    return randomised(made)


def window_mask(context: int) -> Tensor:
    """True where a query may not look: after itself, and further back than the context."""
    i, j = torch.arange(T).unsqueeze(-1), torch.arange(T)
    return (j > i) | (j <= i - context)


@pytest.mark.parametrize("context", [1, 3, T, 20])
def test_the_block_is_torchs_encoder_layer(context: int) -> None:
    ours = block(context)
    theirs = nn.TransformerEncoderLayer(
        D, N, H, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    names = {
        "self_attn.in_proj_weight": "attention.in_proj.weight",
        "self_attn.in_proj_bias": "attention.in_proj.bias",
        **{f"self_attn.out_proj.{p}": f"attention.out_proj.{p}" for p in ("weight", "bias")},
        **{f"linear1.{p}": f"expand.{p}" for p in ("weight", "bias")},
        **{f"linear2.{p}": f"contract.{p}" for p in ("weight", "bias")},
        **{f"norm1.{p}": f"attention_norm.{p}" for p in ("weight", "bias")},
        **{f"norm2.{p}": f"feed_forward_norm.{p}" for p in ("weight", "bias")},
    }
    weights = ours.state_dict()
    assert sorted(names.values()) == sorted(weights)
    theirs.load_state_dict({their: weights[our] for their, our in names.items()})
    x, mask = random(B, T, D), window_mask(context)
    got = with_gradients(lambda x, *_: ours(x, None)[0], x=x, **dict(ours.named_parameters()))
    mine = {our: theirs.get_parameter(their) for their, our in names.items()}
    mine = {name: mine[name] for name, _ in ours.named_parameters()}
    assert_near(got, with_gradients(lambda x, *_: theirs(x, src_mask=mask), x=x, **mine))


@pytest.mark.parametrize("context", [3, 20])
def test_rotary_positions_are_complex_turns(context: int) -> None:
    """Written out with complex numbers, at places that begin anywhere: only differences count."""
    layer = randomised(CausalSelfAttention(D, N, context, is_rotary=True))
    x = random(B, T, D)
    turn = 10_000.0 ** (-torch.arange(0, K, 2, dtype=torch.float64) / K)  # radians a position
    for first in (0, 1_000):
        places = torch.arange(first, first + T)[:, None]
        phase = torch.polar(torch.ones(()).double(), places * turn)  # (T, K/2)
        q, k, v = layer.in_proj(x).view(B, T, 3, N, K).permute(2, 0, 3, 1, 4)
        q, k = (torch.complex(*u.chunk(2, dim=-1)) * phase for u in (q, k))
        scores = torch.einsum("bnik,bnjk->bnij", q, k.conj()).real / K**0.5
        p = scores.masked_fill(window_mask(context), -torch.inf).softmax(-1)
        want = layer.out_proj((p @ v).transpose(1, 2).flatten(2))
        torch.testing.assert_close(layer(x, None)[0], want)


def test_rotary_positions_tell_places_apart() -> None:
    """Swapping two characters of the past leaves what comes without positions as it is."""
    x = random(1, T, D).detach()
    swapped = x[:, [1, 0, *range(2, T)]]
    for is_rotary in (False, True):
        layer = randomised(CausalSelfAttention(D, N, T, is_rotary=is_rotary))
        same = torch.allclose(layer(x, None)[0][:, -1], layer(swapped, None)[0][:, -1])
        assert same != is_rotary


def through(
    layer: TransformerBlock, x: Tensor, past: Cache | None, cuts: list[int]
) -> tuple[Tensor, Cache]:
    outputs = []
    for piece in x.tensor_split(cuts, dim=1):
        y, past = layer(piece, past)
        outputs.append(y)
    assert past is not None
    return torch.cat(outputs, dim=1), past


@pytest.mark.parametrize("context", [1, 3, T, 20])
@pytest.mark.parametrize("is_rotary", [False, True])
@pytest.mark.parametrize("cuts", [[1], [3, 5], list(range(1, T))], ids=str)
def test_the_cache_carries_on(context: int, is_rotary: bool, cuts: list[int]) -> None:
    layer, x = block(context, is_rotary=is_rotary), random(B, T, D)
    empty = torch.zeros(B, N, context, K, dtype=torch.float64)
    none = Cache(empty, empty, torch.zeros(B, dtype=torch.int64))
    for past in (None, none):
        whole, end = layer(x, past)
        streamed, last = through(layer, x, past, cuts)
        found = {"y": streamed, "k": last.k, "v": last.v}
        assert_near(found, {"y": whole, "k": end.k, "v": end.v})
        assert last.filled.tolist() == end.filled.tolist() == [min(T, context)] * B
        assert last.k.shape == last.v.shape == (B, N, context, K)


@pytest.mark.parametrize("is_rotary", [False, True])
def test_what_stands_before_the_filled_part_is_not_read(is_rotary: bool) -> None:
    layer, x = block(5, is_rotary=is_rotary), random(B, T, D)
    _, cache = layer(x[:, :2], None)
    noise = torch.full_like(cache.k[:, :, :3], 1e6)
    k, v = (torch.cat([noise, part[:, :, 3:]], dim=2) for part in (cache.k, cache.v))
    assert torch.equal(layer(x, Cache(k, v, cache.filled))[0], layer(x, cache)[0])


def test_dropout_acts_on_what_is_added_and_in_training_only() -> None:
    layer, x = TransformerBlock(D, H, N, T, is_rotary=True, dropout=0.5), torch.randn(B, T, D)
    once = layer.eval()(x, None)[0]
    assert torch.equal(layer(x, None)[0], once)
    assert not torch.equal(layer.train()(x, None)[0], once)
    dropped = TransformerBlock(D, H, N, T, is_rotary=True, dropout=1.0).train()
    assert torch.equal(dropped(x, None)[0], x)
