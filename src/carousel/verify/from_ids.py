"""The recurrent families from ids, as subjects: the op's, from the embedding onwards; the layer's.

Letters: T time steps, B sequences, V tokens, D input features, H units, G = gates · H, P = H.
"""

import random
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import carousel
from carousel.nn.embedding import Embedding
from carousel.nn.parameters import IN_THE_LOOP
from carousel.ops import recurrence
from carousel.ops.gru import GRU
from carousel.ops.lstm import LSTM
from carousel.ops.lstm_layer_norm import LSTM_LAYER_NORM
from carousel.ops.recurrence import DenseInput, Family, Saved, State, Weights
from carousel.ops.rnn import RNN_TANH
from carousel.verify.cases import Case, Index, Sizes, Subject, Tensors, draw_case, nowhere
from carousel.verify.causality import Scene
from carousel.verify.layers import LAYERS, make, named_state
from carousel.verify.modules import blank, call, of_layer
from carousel.verify.recurrences import CELL, HIDDEN, NORMS, STATE, WEIGHTS, kink
from carousel.verify.scenes import last

TOKENS = ("embedding", "w_ih", "b_ih", "gain")
SUFFIX = ", from ids"


def subject(name: str, family: Family) -> Subject:
    """Return the time loop of a family on what a table holds, with the making of the table."""
    is_normalised = family is LSTM_LAYER_NORM
    return Subject(
        name=name + SUFFIX,
        sizes=partial(draw_sizes, family),
        data=CELL if family in (LSTM, LSTM_LAYER_NORM) else HIDDEN,
        weights={"embedding": "VD", **WEIGHTS, **(NORMS if is_normalised else {})},
        forward=partial(forward, family),
        backward=partial(backward, family),
        indices={"ids": Index("TB", -1, "V")},  # -1 is no token at all
        kink=kink if family.name == "rnn_relu" else nowhere,
    )


def draw_sizes(family: Family, rng: random.Random) -> Sizes:
    """Return sizes that all differ, and no more tokens than there are places for them."""
    h, t, b, d = rng.sample(range(3, 8), 4)
    v = rng.choice([size for size in range(3, 9) if size not in (h, t, b, d)])
    return {"T": t, "B": b, "V": v, "D": d, "H": h, "P": h, "G": family.gates * h}


def forward(family: Family, case: Case) -> tuple[Tensors, Saved]:
    """Make the table and run the op's time loop on it."""
    tokens, state, weights = arguments(case.inputs)
    source = recurrence.EmbeddedInput(
        case.constants["ids"] + 1, recurrence.project_embedding(tokens)
    )
    y, final, trace = recurrence.forward(family, source, state, weights)
    return {"y": y, **dict(zip(("h_n", "c_n"), final, strict=False))}, trace


def backward(family: Family, case: Case, cotangents: Tensors, trace: Saved) -> Tensors:
    """Run the op's reverse, and that of the table."""
    tokens, state, weights = arguments(case.inputs)
    dstate = tuple(cotangents[name] for name in ("h_n", "c_n")[: len(state)])
    dsource, dstate, dweights = recurrence.backward(family, cotangents["y"], dstate, trace, weights)
    dtokens = recurrence.project_embedding_backward(dsource._asdict()["table"], tokens)
    found = dict(zip(TOKENS, dtokens, strict=True)) | dict(zip(STATE, dstate, strict=False))
    return {name: d for name, d in found.items() if d is not None} | dweights


def arguments(inputs: Tensors) -> tuple[DenseInput, State, Weights]:
    """Return inputs as the op takes them: tokens, which make a table, in the place of vectors."""
    tokens = DenseInput(*(inputs.get(name) for name in TOKENS))  # type: ignore[arg-type]
    state = tuple(inputs[name] for name in STATE if name in inputs)
    weights = {name: w for name, w in inputs.items() if name not in TOKENS + STATE}
    return tokens, state, weights


def scene(one: Subject, seed: int) -> Scene:
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
        sizes = (features, units)
        self.layer = make(carousel, LAYERS[name], *sizes, dtype=torch.float64, bias=bias)

    def forward(self, ids: Tensor, hx: Any) -> Any:
        return self.layer.from_ids(ids, self.embedding, hx)  # type: ignore[operator]


def ours(name: str, case: Case) -> Tensors:
    """Run the layer from ids."""
    v, d, h = (case.sizes[letter] for letter in "VDH")
    module = blank(_Reader, name, v, d, h, "b_ih" in case.inputs)
    weights = {f"layer.{key}": w for key, w in _torchs_weights(case).items()}
    weights |= {"embedding.weight": case.inputs["embedding"]}
    return _named(call(module, weights, case.constants["ids"], _hx(case)))


def theirs(name: str, case: Case) -> Tensors:
    """Run torch's layer on torch's embedding; what is -1 here is its token of padding."""
    d, h = (case.sizes[letter] for letter in "DH")
    table = F.pad(case.inputs["embedding"], (0, 0, 1, 0))
    x = F.embedding(case.constants["ids"] + 1, table, padding_idx=0)
    module = blank(_torchs, name, d, h, "b_ih" in case.inputs)
    return _named(call(module, _torchs_weights(case), x, _hx(case)))


def _torchs(name: str, features: int, units: int, bias: bool) -> nn.Module:
    return make(nn, LAYERS[name], features, units, dtype=torch.float64, bias=bias)


def _torchs_weights(case: Case) -> Tensors:
    names = {"w_ih": "weight_ih", "b_ih": "bias_ih", "gain": "norm_ih"}
    names |= {op: name for name, op in IN_THE_LOOP.items()}
    return {f"{name}_l0": case.inputs[op] for op, name in names.items() if op in case.inputs}


def _hx(case: Case) -> Any:
    state = [case.inputs[name].unsqueeze(0) for name in STATE if name in case.inputs]
    return tuple(state) if len(state) > 1 else state[0]


def _named(result: Any) -> Tensors:
    y, final = result
    state = named_state(final, "n")
    return {"y": y, **{name: part.squeeze(0) for name, part in state.items()}}


FAMILIES = {
    "rnn tanh": RNN_TANH,
    "gru": GRU,
    "lstm": LSTM,
    "lstm layer norm": LSTM_LAYER_NORM,
}
SUBJECTS = {name: subject(name, family) for name, family in FAMILIES.items()}
LAYERS_FROM_IDS = {name: of_layer(one, partial(ours, name)) for name, one in SUBJECTS.items()}
