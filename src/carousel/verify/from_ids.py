"""The recurrent families from ids, as OpSpecs: the op's, from the embedding onwards; the layer's.

Letters: T time steps, B sequences, V tokens, D input features, H units, G = gates · H, P = H.
"""

import random
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import carousel
from carousel.models.families import FAMILIES
from carousel.nn.embedding import Embedding
from carousel.nn.embedding_input import TokenInput
from carousel.ops.recurrence import DenseInput, Family, Saved, State, Weights
from carousel.verify.causality import Scene
from carousel.verify.causality_cases import last
from carousel.verify.layers import Layer, make
from carousel.verify.modules import blank, call, of_layer
from carousel.verify.op_spec import Case, Index, OpSpec, Sizes, Tensors, draw_case
from carousel.verify.recurrences import (
    CELL,
    HIDDEN,
    RECURRENCES,
    STATE,
    RecurrentSpec,
    by_name,
    family_in,
    layer_state,
    layer_weights,
    torch_layer,
)

TOKENS = ("embedding", "w_ih", "b_ih", "gain")
SUFFIX = ", from ids"


def op_spec(name: str) -> RecurrentSpec:
    """Return the time loop of a family on what a table holds, with the making of the table."""
    dense = RECURRENCES[name]
    family, state = dense.family, CELL if "c_0" in dense.data else HIDDEN
    return replace(
        dense,
        name=dense.name + SUFFIX,
        sizes=partial(draw_sizes, family),
        data=state,
        weights={"embedding": "VD", **dense.weights},
        forward=partial(forward, family),
        backward=partial(backward, family),
        constants={"ids": Index("TB", -1, "V")},  # -1 is no token at all
        reference=None if dense.layer.not_in_torch else partial(theirs, dense.layer),
    )


def draw_sizes(family: Family, rng: random.Random) -> Sizes:
    """Return sizes that all differ, and no more tokens than there are places for them."""
    h, t, b, d = rng.sample(range(3, 8), 4)
    v = rng.choice([size for size in range(3, 9) if size not in (h, t, b, d)])
    return {"T": t, "B": b, "V": v, "D": d, "H": h, "P": h, "G": family.gates * h}


def forward(family: Family, case: Case) -> tuple[Tensors, Saved]:
    """Make the table and run the op's time loop on it."""
    tokens, state, weights = arguments(case.inputs)
    op = case.ops["recurrence"]
    source = op.EmbeddedInput(case.constants["ids"] + 1, op.project_embedding(tokens))
    y, final, saved = op.forward(family_in(case.ops, family), source, state, weights)
    return {"y": y, **dict(zip(("h_n", "c_n"), final, strict=False))}, saved


def backward(family: Family, case: Case, cotangents: Tensors, saved: Saved) -> Tensors:
    """Run the backward pass of the op, and that of the table."""
    tokens, state, weights = arguments(case.inputs)
    dstate = tuple(cotangents[name] for name in ("h_n", "c_n")[: len(state)])
    op, family = case.ops["recurrence"], family_in(case.ops, family)
    dsource, dstate, dweights = op.backward(family, cotangents["y"], dstate, saved, weights)
    dtokens = op.project_embedding_backward(dsource._asdict()["table"], tokens)
    found: Tensors = dict(zip(TOKENS, dtokens, strict=True))
    found |= dweights | dict(zip(STATE, dstate, strict=False))
    return {name: d for name, d in found.items() if d is not None}


def arguments(inputs: Tensors) -> tuple[DenseInput, State, Weights]:
    """Return inputs as the op takes them: tokens, which make a table, in the place of vectors."""
    tokens = DenseInput(*(inputs.get(name) for name in TOKENS))  # type: ignore[arg-type]
    state = tuple(inputs[name] for name in STATE if name in inputs)
    weights = {name: w for name, w in inputs.items() if name not in TOKENS + STATE}
    return tokens, state, weights


def scene(one: OpSpec, seed: int) -> Scene:
    """Return the time loop where each place has a token of its own, whose vector is its source."""
    case = draw_case(one, seed)
    t, b, d = (case.sizes[letter] for letter in "TBD")
    x = torch.randn(t, b, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ids = torch.arange(t * b).view(t, b)

    def run(sources: Tensors) -> Tensor:
        inputs = case.inputs | {"embedding": sources["x"].flatten(0, 1)}
        return one.forward(case._replace(inputs=inputs, constants={"ids": ids}))[0]["y"]

    return Scene(run, {"x": x}, {"x": last(t, t, b)})


class _Reader(nn.Module):
    """A layer, as users make it, that reads ids."""

    def __init__(self, name: str, tokens: int, features: int, units: int, bias: bool) -> None:
        super().__init__()
        self.embedding = Embedding(tokens, features)
        layer, sizes = RECURRENCES[name].layer, (features, units)
        self.layer = make(carousel, layer, *sizes, dtype=torch.float64, bias=bias)

    def forward(self, ids: Tensor, hx: Any) -> Any:
        return self.layer(TokenInput(ids, self.embedding), hx)


def ours(name: str, case: Case) -> Tensors:
    """Run the layer from ids."""
    v, d, h = (case.sizes[letter] for letter in "VDH")
    module = blank(_Reader, name, v, d, h, "b_ih" in case.inputs)
    weights = {f"layer.{key}": w for key, w in layer_weights(case).items()}
    weights |= {"embedding.weight": case.inputs["embedding"]}
    return by_name(call(module, weights, case.constants["ids"], layer_state(case)))


def theirs(layer: Layer, case: Case) -> Tensors:
    """Run torch's layer on torch's embedding; what is -1 here is its token of padding."""
    table = F.pad(case.inputs["embedding"], (0, 0, 1, 0))
    return torch_layer(layer, case, F.embedding(case.constants["ids"] + 1, table, padding_idx=0))


_PLAIN = [next(iter(f.variants)) for f in FAMILIES.values() if f.layer is not None]
SPECS = {name: op_spec(name) for name in [*_PLAIN, "lstm_layer_norm"]}
LAYERS_FROM_IDS = {name: of_layer(one, partial(ours, name)) for name, one in SPECS.items()}
