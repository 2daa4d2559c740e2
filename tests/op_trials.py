"""How the tests run each OpSpec: in fixed sizes, against a definition of its own.

A trial runs the modules that it is handed: the true ones, or one with a fault planted in it.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

import definitions
import op_definitions
from carousel.verify.attention import ATTENTION, ATTENTION_MASKED, BLOCKS, BLOCKS_MASKED
from carousel.verify.op_spec import OPS, Case, Ops, OpSpec, Sizes, Tensors, draw_case
from carousel.verify.op_specs import OP_SPECS
from carousel.verify.recurrences import RECURRENCES, STATE, RecurrentSpec
from hand_derived import by_hand
from op_definitions import indices, sees

Pieces = list[tuple[int, int]]
Of = Callable[[Case], Tensors]


class Scale(NamedTuple):
    """The sizes of a trial, by letter; they all differ, so that a swapped axis shows."""

    recurrences: Sizes
    functions: Sizes


FULL = Scale(
    {"T": 4, "B": 3, "D": 5, "H": 6, "P": 2},
    {"B": 2, "N": 3, "T": 5, "S": 7, "K": 6, "M": 4, "V": 9, "D": 8, "H": 10, "O": 3, "U": 2},
)
TINY = Scale(  # for finite differences, which cost a run per number
    {"T": 3, "B": 2, "D": 1, "H": 4, "P": 3},
    {"B": 2, "N": 2, "T": 3, "S": 4, "K": 4, "M": 1, "V": 3, "D": 4, "H": 2, "O": 2, "U": 1},
)


class Trial(NamedTuple):
    """An OpSpec, and what only the tests know of it.

    Attributes:
        name: Of the trial.
        spec: The op.
        definition: The same outputs as the paper has them.
        depends: Of the first output: on which places of which inputs each of its places depends.
        constants: In place of those that the spec draws.
        pieces: Some outputs of a case, piece by piece.
        has_optional: Whether the optional inputs are there.
        is_self: Whether there are as many keys as queries.
        far: Added to the inputs: a softmax must bear numbers whose exponential is infinite.
    """

    name: str
    spec: OpSpec
    definition: Of
    depends: Of
    constants: Callable[[Sizes], Tensors] | None = None
    pieces: Callable[[Case, Pieces], Tensors] | None = None
    has_optional: bool = True
    is_self: bool = False
    far: float = 0.0

    def __str__(self) -> str:
        return self.name


def case_of(
    trial: Trial,
    ops: Ops = OPS,
    scale: Scale = FULL,
    dtype: torch.dtype = torch.float64,
    *,
    is_from_zero: bool = False,
) -> Case:
    """Draw a case whose inputs ask for gradients; from zero, its initial state is.

    What a step does at such a state may be a special case.
    """
    sizes = sizes_of(trial, scale)
    case = draw_case(trial.spec, 4, sizes, has_optional=trial.has_optional)
    zero = STATE if is_from_zero else ()
    inputs = {
        name: (0 * x if name in zero else x + trial.far).to(dtype).requires_grad_()
        for name, x in case.inputs.items()
    }
    constants = case.constants if trial.constants is None else trial.constants(sizes)
    constants = {k: x.to(dtype) if x.is_floating_point() else x for k, x in constants.items()}
    return case._replace(inputs=inputs, constants=constants, ops=ops)


def sizes_of(trial: Trial, scale: Scale) -> Sizes:
    if isinstance(trial.spec, RecurrentSpec):
        sizes = dict(scale.recurrences)
        if "w_hr" not in trial.spec.weights:
            sizes["P"] = sizes["H"]
        return sizes | {"G": trial.spec.family.gates * sizes["H"]}
    sizes = dict(scale.functions)
    if trial.is_self:
        sizes["S"] = sizes["T"]
    sizes |= {"W": sizes["O"] - 1 + sizes["T"], "X": sizes["O"] * sizes["D"], "R": sizes["K"] // 2}
    sizes |= {"C": min(3, sizes["T"] - 1), "F": 1, "P": 1}
    return {letter: sizes[letter] for letter in trial.spec.sizes(random.Random(0))}


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# recurrence


def recurrent(name: str, *, bias: bool = True, masked: bool = False) -> Trial:
    parts = name, "" if bias else "no bias", "masks" if masked else ""
    return Trial(
        ", ".join(part for part in parts if part),
        OP_SPECS[f"{name}_masked" if masked else name],
        partial(definitions.by_definition, name),
        recurrence_depends,
        has_optional=bias,
    )


def recurrence_depends(case: Case) -> Tensors:
    """On no later input and on no other row, but on all that came before."""
    steps, rows = case.sizes["T"], case.sizes["B"]
    own = torch.eye(rows, dtype=torch.bool)
    past = torch.ones(steps, steps, dtype=torch.bool).tril()
    x = past[:, None, :, None] & own[None, :, None, :]
    states = {name: own.expand(steps, rows, rows) for name in STATE if name in case.inputs}
    return {"x": x} | states


# what knows no places


def targets(sizes: Sizes) -> Tensors:
    drawn = torch.arange(sizes["B"] * sizes["T"]) * 5 % sizes["V"]
    return {"targets": drawn.view(sizes["B"], sizes["T"])}


def positions(sizes: Sizes) -> Tensors:
    return {"positions": torch.arange(sizes["T"])}


def elsewhere(case: Case, pieces: Pieces) -> Tensors:
    """Products depend on differences of places: they are the same wherever the text begins."""
    moved = case.constants["positions"] + 7 * len(pieces)
    return {"scores": by_hand(case._replace(constants={"positions": moved}))["scores"]}


def row_by_row(*names: str) -> Of:
    """Each vector depends on the vectors in its own place, and on no others."""

    def depends(case: Case) -> Tensors:
        lead = case.inputs[names[0]].shape[:-1]
        return {name: torch.eye(lead.numel()).bool().view(*lead, *lead) for name in names}

    return depends


# the fixed window, and what a language model's first layer reads


def ids(sizes: Sizes) -> Tensors:
    """No token before the beginning, and some of them twice."""
    drawn = torch.arange(sizes["B"] * sizes["W"]) * 4 % (sizes["V"] - 1)
    drawn = drawn.view(sizes["B"], -1)
    drawn[0, : sizes["O"] - 1] = -1
    return {"ids": drawn}


def ids_alone(sizes: Sizes) -> Tensors:
    return {"ids": ids(sizes | {"O": 3, "W": 2 + sizes["T"]})["ids"][:, : sizes["T"]]}


def window_depends(case: Case) -> Tensors:
    """On the rows of the tokens that stand in the window, and on no others."""
    inside = case.constants["ids"].unfold(1, case.sizes["O"], 1)  # (B, T, O)
    return {"table": (inside.unsqueeze(-1) == torch.arange(case.sizes["V"])).any(-2)}


def window_in_pieces(case: Case, pieces: Pieces) -> Tensors:
    """The state is the last O - 1 ids."""
    return {"h": torch.cat(of_ids(case, pieces, "h", case.sizes["O"] - 1), dim=1)}


def from_ids_depends(case: Case) -> Tensors:
    """On the row of the token that stands there."""
    return {"table": case.constants["ids"].unsqueeze(-1) == torch.arange(case.sizes["V"])}


def from_ids_in_pieces(case: Case, pieces: Pieces) -> Tensors:
    """There is no state."""
    return {"a": torch.cat(of_ids(case, pieces, "a", 0), dim=1)}


def of_ids(case: Case, pieces: Pieces, output: str, before: int) -> list[Tensor]:
    every = case.constants["ids"]
    parts = [every[:, start : before + end] for start, end in pieces]
    return [by_hand(case._replace(constants={"ids": part}))[output] for part in parts]


# attention


def nothing(sizes: Sizes) -> Tensors:
    return {}


def in_a_cache(sizes: Sizes) -> Tensors:
    """Of the first text two keys are not yet written."""
    return {"first": torch.tensor([2, 0])}


def with_padding(sizes: Sizes) -> Tensors:
    """The second key is padding, and the second query sees nothing at all."""
    hidden = torch.zeros(sizes["T"], sizes["S"], dtype=torch.bool)
    hidden[:, 1] = hidden[1] = True
    return {"hidden": hidden}


def with_constant_padding(sizes: Sizes) -> Tensors:
    """The scores are so low that e to them is 0; only their differences matter."""
    shape = (sizes[letter] for letter in "BNTS")
    return with_padding(sizes) | {"bias": normal(*shape, seed=9) - 1000}


def with_dropout(sizes: Sizes) -> Tensors:
    """No factor is 0, so that nothing is cut off."""
    shape = (sizes[letter] for letter in "BNTS")
    return {"keep": normal(*shape, seed=9).sigmoid() + 0.5}


def attention_depends(case: Case) -> Tensors:
    """On the values it sees; where there is a choice, on their keys, and on its query."""
    texts, heads, queries, keys = (case.sizes[letter] for letter in "BNTS")
    values = torch.zeros(texts, heads, queries, texts, heads, keys, dtype=torch.bool)
    own = torch.zeros(texts, heads, queries, texts, heads, queries, dtype=torch.bool)
    for b, n, i in indices(texts, heads, queries):
        values[b, n, i, b, n] = torch.tensor([sees(case, b, i, j) for j in range(keys)])
        own[b, n, i, b, n, i] = True
    has_choice = values.sum((-3, -2, -1), keepdim=True) > 1
    return {"v": values, "k": values & has_choice, "q": own & has_choice}


def attention_in_pieces(case: Case, pieces: Pieces) -> Tensors:
    """From a cache of exactly C positions, of which those not yet written hold noise."""
    texts, heads, queries, keys, context = (case.sizes[letter] for letter in "BNTSC")
    p, first = case.inputs, case.constants.get("first", torch.zeros(texts, dtype=torch.int64))
    widths = [case.sizes["K"], case.sizes["M"]]
    noises = normal(texts, heads, context, sum(widths), seed=8).split(widths, dim=-1)
    k, v = (torch.cat([n, p[name]], dim=2) for n, name in zip(noises, "kv", strict=True))
    outputs = []
    for start, end in pieces:
        cut = slice(keys - queries + start, keys - queries + context + end)
        own = {"q": p["q"][:, :, start:end], "k": k[:, :, cut], "v": v[:, :, cut]}
        unwritten = {"first": (context + first - cut.start).clamp(min=0)}
        outputs.append(by_hand(case._replace(inputs=own, constants=unwritten))["y"])
    return {"y": torch.cat(outputs, dim=2)}


def attending(
    name: str, spec: OpSpec, constants: Callable[[Sizes], Tensors], **others: object
) -> Trial:
    definition = op_definitions.attention if spec.module == "attention" else op_definitions.blocks
    trial = Trial(name, spec, definition, attention_depends, constants, has_optional=False)
    return trial._replace(**others)


IN_TIME = {"pieces": attention_in_pieces}
SELF = {"is_self": True}
FUNCTIONS = (
    Trial("softmax", OP_SPECS["softmax"], op_definitions.softmax, row_by_row("s"), far=800.0),
    Trial(
        "cross_entropy",
        OP_SPECS["cross_entropy"],
        op_definitions.cross_entropy,
        row_by_row("logits"),
        targets,
        far=800.0,
    ),
    Trial("layer_norm", OP_SPECS["layer_norm"], op_definitions.layer_norm, row_by_row("x")),
    Trial(
        "window",
        OP_SPECS["window"],
        op_definitions.window,
        window_depends,
        ids,
        window_in_pieces,
    ),
    Trial(
        "from_ids",
        OP_SPECS["from_ids"],
        op_definitions.from_ids,
        from_ids_depends,
        ids_alone,
        from_ids_in_pieces,
    ),
    Trial(
        "sinusoidal",
        OP_SPECS["sinusoidal"],
        op_definitions.sinusoidal,
        row_by_row("x"),
        positions,
    ),
    Trial(
        "rotary",
        OP_SPECS["rotary_scores"],
        op_definitions.rotary,
        row_by_row("q"),
        positions,
        elsewhere,
    ),
    attending("attention", ATTENTION_MASKED, nothing, **IN_TIME, **SELF),
    attending("attention_cached", ATTENTION_MASKED, in_a_cache, **IN_TIME),
    attending("attention_padded", ATTENTION, with_padding, has_optional=True),
    attending("attention_dropout", ATTENTION_MASKED, with_dropout, **SELF),
    attending("blocks", BLOCKS_MASKED, nothing, **IN_TIME, **SELF),
    attending("blocks_cached", BLOCKS_MASKED, in_a_cache, **IN_TIME),
    attending("blocks_padded", BLOCKS, with_constant_padding),
)
FAMILIES = [
    recurrent(name, bias=bias, masked=masked)
    for name in RECURRENCES
    for bias in (True, False)
    for masked in (False, True)
]
TRIALS = {trial.name: trial for trial in (*FUNCTIONS, *FAMILIES)}
