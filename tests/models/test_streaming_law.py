"""The streaming law, of every family: however a text is read, it gives the same numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assertions import assert_near
from budgets import amount, torture
from carousel.errors import ConfigError
from carousel.models.config import ModelConfig
from carousel.models.language_model import build
from models.small_models import CONFIGS, V, random_model
from models.streaming import (
    PASTS,
    B,
    T,
    after_a_past,
    each_row_alone,
    in_pieces,
    results,
    sight,
    tokens,
)

kinds = pytest.mark.parametrize("kind", CONFIGS)
LEARNED = CONFIGS["learned positions"]
PAST = tokens(seed=2)


@kinds
@pytest.mark.parametrize("given_state", [True, False], ids=["from a state", "from none"])
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, T - 1), max_size=T).map(sorted))
def test_a_text_in_pieces_is_the_whole(kind: str, given_state: bool, cuts: list[int]) -> None:
    model = random_model(CONFIGS[kind])
    start = after_a_past(model, PAST) if given_state else None
    whole = results(model, *model(tokens(), start), start)
    assert_near(results(model, *in_pieces(model, tokens(), start, cuts), start), whole)


@kinds
def test_one_character_at_a_time_is_the_whole(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    start = after_a_past(model, PAST)
    whole = results(model, *model(tokens(), start), start)
    assert_near(results(model, *in_pieces(model, tokens(), start, list(range(1, T))), start), whole)


@kinds
def test_a_row_of_a_batch_is_the_text_alone(kind: str) -> None:
    """Also where the rows of a batch have read more and less before."""
    model = random_model(CONFIGS[kind])
    start = after_a_past(model, PAST)
    alone = results(model, *each_row_alone(model, tokens(), start), start)
    assert_near(results(model, *model(tokens(), start), start), alone)


@kinds
def test_a_row_goes_on_from_its_own_past(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    logits, _ = model(tokens(), after_a_past(model, PAST))
    for b, n in enumerate(PASTS):
        whole, _ = model(torch.cat([PAST[b : b + 1, :n], tokens()[b : b + 1]], dim=1))
        assert_near({"logits": logits[b : b + 1]}, {"logits": whole[:, n:]})


@kinds
def test_no_state_is_the_initial_state(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    none = results(model, *model(tokens()), None)
    assert_near(results(model, *model(tokens(), model.initial_state(B)), None), none)


@kinds
def test_logits_depend_on_all_they_may_see_and_nothing_else(kind: str) -> None:
    """On all of the past, or on the last characters, as many as the model has said."""
    model, text = random_model(CONFIGS[kind]), tokens(batch=1)
    logits, _ = model(text)
    for changed in range(T):
        other = text.clone()
        other[0, changed] = (other[0, changed] + 1) % V
        differ = (model(other)[0] != logits).any(-1)[0]
        for t in range(T):
            is_seen = changed <= t < changed + sight(CONFIGS[kind])
            assert differ[t] == is_seen, f"character {changed} and the logits at {t}"


@kinds
def test_the_state_has_the_type_and_shape_of_the_initial_one_whatever_was_read(kind: str) -> None:
    model = random_model(CONFIGS[kind]).float()
    initial = model.initial_state(B)
    for length in (1, 2, 4, T):
        _, state = model(tokens(length=length))
        assert [(s.shape, s.dtype) for s in state] == [(s.shape, s.dtype) for s in initial]


# What the states hold.


@pytest.mark.parametrize("kind", ["mlp", "mlp without a past"])
@pytest.mark.parametrize("length", [1, 2, 3, T])
def test_the_window_keeps_the_ids_that_the_next_one_needs(kind: str, length: int) -> None:
    model, n = random_model(CONFIGS[kind]), CONFIGS[kind].context
    (state,) = model(tokens(length=length))[1]
    seen = torch.cat([torch.full((B, n), -1), tokens(length=length)], dim=1)
    assert torch.equal(state[0], seen[:, seen.shape[1] - (n - 1) :])


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("length", [1, 3, 4, 5, T])
def test_the_cache_keeps_exactly_the_last_positions(length: int, is_streamed: bool) -> None:
    """In the first layer keys and values are of the character alone, so they can be written out."""
    config = CONFIGS["transformer"]
    model, text, c = random_model(config), tokens(length=length), config.context
    cuts = list(range(1, length)) if is_streamed else []
    k, v, filled = in_pieces(model, text, None, cuts)[1]
    assert k.shape == v.shape == (config.num_layers, B, 5, c, 6)
    assert filled.tolist() == [[min(length, c)] * B]
    block = model.body.blocks[0]
    packed = block.attention.in_proj(block.attention_norm(model.embedding(text)))
    _, keys, values = packed.view(B, length, 3, 5, 6).permute(2, 0, 3, 1, 4)
    for got, want in ((k[0], keys), (v[0], values)):
        torch.testing.assert_close(got[:, :, -min(length, c) :], want[:, :, -c:])
        assert (got[:, :, : max(0, c - length)] == 0).all()


# Without end.


@torture
def test_five_thousand_characters_one_at_a_time_are_the_whole() -> None:
    """In single precision, where positions that grow would have lost their digits.

    Rounding differs, for sums are grouped otherwise: allowed is a relative 2e-6 of the logits. The
    quick form reads most of them in pieces of 50.
    """
    config = ModelConfig(
        model="transformer", embedding_size=8, hidden_size=8, context_length=6, num_heads=2
    )
    torch.manual_seed(0)
    model, alone = build(config, V), amount(500, 5_000)
    text = tokens(1, 5_000)
    cuts = [*range(50, 5_000 - alone, 50), *range(5_000 - alone, 5_000)]
    with torch.inference_mode():
        whole, _ = model(text)
        streamed, _ = in_pieces(model, text, None, cuts)
    assert_near({"logits": streamed}, {"logits": whole}, 2e-6)


# Positions that end.

ENDING = pytest.mark.parametrize("kind", ["learned positions", "sinusoidal positions"])


@ENDING
def test_positions_reach_to_their_end_and_no_further(kind: str) -> None:
    model, longest = random_model(CONFIGS[kind]), CONFIGS[kind].context
    assert model.max_length == longest == 20
    text = tokens(length=longest + 1)
    message = f"^{kind} end after 20 characters, and here come 21; positions rotary has no end$"
    with pytest.raises(ConfigError, match=message):
        model(text)
    logits, state = model(text[:, :12])
    rest, end = model(text[:, 12:-1], state)
    assert_near({"logits": torch.cat([logits, rest], 1)}, {"logits": model(text[:, :-1])[0]})
    with pytest.raises(ConfigError, match=message):
        model(text[:, 12:], state)
    with pytest.raises(ConfigError, match=message):
        model(text[:, -1:], end)


@ENDING
def test_the_row_that_has_read_most_decides(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    start = after_a_past(model, PAST)  # 5 at most
    model(tokens(length=15), start)
    with pytest.raises(ConfigError, match="end after 20 characters, and here come 21"):
        model(tokens(length=16), start)


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if "positions" not in kind])
def test_the_others_have_no_end(kind: str) -> None:
    model = random_model(CONFIGS[kind])
    assert model.max_length is None
    assert model(tokens(length=200))[0].shape == (B, 200, V)


def test_each_position_has_a_place_of_its_own() -> None:
    """Written out: the table's row t is added to character t, and so are the sines."""
    text = tokens(length=20)
    for kind in ("learned positions", "sinusoidal positions"):
        model = random_model(CONFIGS[kind])
        bare = random_model(ModelConfig(**{**vars(CONFIGS[kind]), "positions": "none"}))
        bare.load_state_dict(model.state_dict(), strict=False)
        if kind == "learned positions":
            places = model.body.places
        else:
            pairs = 10_000.0 ** (-torch.arange(0, 30, 2, dtype=torch.float64) / 30)
            angle = torch.arange(20, dtype=torch.float64)[:, None] * pairs
            places = torch.cat([angle.sin(), angle.cos()], dim=1)
        x = model.embedding(text) + places
        y, _ = bare.body(x, torch.nn.Identity(), None)
        assert_near({"logits": bare.output(y)}, {"logits": model(text)[0]})
