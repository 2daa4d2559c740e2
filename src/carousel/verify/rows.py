"""The rows and the columns of the table: what is proven, and by which check."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from carousel.verify import from_ids, functions, kernel_rows, modules, scenes
from carousel.verify import torch_nn_functions as torchs
from carousel.verify.autograd import BOUND as AUTOGRAD_BOUND
from carousel.verify.autograd import autograd
from carousel.verify.cases import Case, Subject, Tensors
from carousel.verify.causality import causality
from carousel.verify.differences import BOUND as DIFFERENCES_BOUND
from carousel.verify.differences import differences
from carousel.verify.exact import exact
from carousel.verify.fifty_digits import BOUND as DIGITS_BOUND
from carousel.verify.fifty_digits import fifty_digits
from carousel.verify.figure import Figure, worst
from carousel.verify.layers import LAYERS
from carousel.verify.models import draw_config, draw_recurrent
from carousel.verify.permutations import BOUND as PERMUTED_BOUND
from carousel.verify.permutations import equivariance, order
from carousel.verify.positions import relative
from carousel.verify.recurrences import VARIANTS, Variant, subject
from carousel.verify.streaming import BOUND as STREAMING_BOUND
from carousel.verify.streaming import streaming
from carousel.verify.streaming_layers import streaming_layers
from carousel.verify.streaming_models import streaming_models
from carousel.verify.table import Check, Row, Table
from carousel.verify.torch_nn import BOUNDS, torch_nn
from carousel.verify.torch_nn_functions import against_torch

Examiner = Callable[[range], Figure]

CHECKS = (
    Check(
        "exact",
        5,
        "part of all derivatives in which the reverse is not that of the op's forward: without "
        "rounding, over the field of 2⁶¹−1 elements; σ', tanh', exp', log', (1/√)' are rules that "
        "sympy proves. Attention in blocks needs e^(a+b) = e^a e^b, which a field lacks: against "
        f"attention's definition and its derivative in 50 digits; bound {DIGITS_BOUND:.0e}",
    ),
    Check(
        "finite diff.",
        10,
        f"the op's gradients against central differences, float64; bound {DIFFERENCES_BOUND:.0e}",
    ),
    Check(
        "autograd",
        50,
        f"the op's gradients against torch's of the same forward; bound {AUTOGRAD_BOUND:.0e}",
    ),
    Check(
        "torch.nn float64",
        200,
        "the layer's outputs, states and gradients against its namesake's; where a recurrence is "
        "masked, of packed sequences; mlp: a convolution over time; attention: "
        "scaled_dot_product_attention; transformer: torch's encoder, without positions; bound "
        f"{BOUNDS[torch.float64]:.0e}",
    ),
    Check(
        "torch.nn float32",
        200,
        f"the same in single precision; bound {BOUNDS[torch.float32]:.0e}",
    ),
    Check(
        "streaming",
        20,
        "op and layer; of mlp, transformer and what reads ids, the model: whole = any split = one "
        "step at a time = saved and restored = any row of a batch, outputs and gradients, over "
        "streams longer than any window; rotary: a product of two positions depends on their "
        "distance alone; bound "
        f"{STREAMING_BOUND:.0e}",
    ),
    Check(
        "causality",
        10,
        "part of all pairs in which an output depends on what it must not see (what is later, "
        "hidden, before the window, or of another row), or not on what it must; attention and "
        "multi-head: also how far from permuted its output is when queries and keys are permuted; "
        "transformer: how far from blind to order without positions, and that it sees order with "
        f"them; bound {PERMUTED_BOUND:.0e}",
    ),
)


ORDER = [variant.name for variant in VARIANTS]
NO_STATE = "no state is handed on"
NO_PLACES = "nothing is before or after"
COMPOSED = "it is composed of the rows above"


def recurrent(variant: Variant) -> Row:
    """Return the row of a recurrent family: its time loop, and its layer."""
    one, layer = subject(variant), LAYERS[variant.name.removesuffix(", masked")]
    zoneout = 0.3 if variant.masks else 0.0
    return Row(
        variant.name,
        {
            "exact": partial(exact, one),
            **gradients(one),
            **{
                f"torch.nn {name}": layer.not_in_torch
                or partial(torch_nn, layer, bool(variant.masks), dtype)
                for name, dtype in DTYPES.items()
            },
            "streaming": partial(
                together, [partial(streaming, one), partial(streaming_layers, layer, zoneout)]
            ),
            "causality": partial(causality, partial(scenes.recurrence, variant)),
        },
    )


def read_from_ids(name: str) -> Row:
    """Return the row of a recurrent family whose inputs are ids: its loop, layer and model."""
    one, missing = from_ids.SUBJECTS[name], LAYERS[name].not_in_torch
    checks = parity(from_ids.LAYERS_FROM_IDS[name], partial(from_ids.theirs, name))
    return Row(
        one.name,
        {
            "exact": partial(exact, one),
            **gradients(one),
            **{column: missing or examine for column, examine in checks.items()},
            "streaming": partial(streaming_models, partial(draw_recurrent, name)),
            "causality": partial(causality, partial(from_ids.scene, one)),
        },
    )


DTYPES = {"float64": torch.float64, "float32": torch.float32}


def gradients(one: Subject) -> dict[str, Examiner]:
    """Return what holds for whatever has a reverse."""
    return {"finite diff.": partial(differences, one), "autograd": partial(autograd, one)}


def parity(layer: Subject, theirs: Callable[[Case], Tensors]) -> dict[str, Examiner]:
    """Return the comparison of a layer, or of an op that has none, with torch's."""
    return {
        f"torch.nn {name}": partial(against_torch, layer, theirs, dtype)
        for name, dtype in DTYPES.items()
    }


def function(
    one: Subject, layer: Subject, theirs: Callable[[Case], Tensors], **others: Examiner | str
) -> Row:
    """Return the row of an op; what nothing else is said of is pure, and knows no places."""
    return Row(
        one.name,
        {
            "exact": partial(exact, one),
            **gradients(one),
            **parity(layer, theirs),
            "streaming": NO_STATE,
            "causality": NO_PLACES,
            **others,
        },
    )


def together(examiners: Sequence[Examiner], seeds: range) -> Figure:
    """Return the worst that several checks find."""
    return worst(examine(seeds) for examine in examiners)


def fewer(number: int, examine: Examiner, seeds: range) -> Figure:
    """Let a costly check have so many of the seeds."""
    return examine(seeds[:number])


def sees(one: Subject) -> Examiner:
    """Return the causality check of an attention."""
    return partial(causality, partial(scenes.attention, one))


def sees_a_set(one: Subject) -> Examiner:
    """Return the causality check of an attention that sees everything, in any order."""
    return partial(together, [sees(one), partial(equivariance, one, functions.ATTENDED)])


FUNCTIONS = [
    function(functions.EMBEDDING, modules.EMBEDDING_LAYER, torchs.embedding),
    function(
        functions.MLP,
        modules.WINDOW_LAYER,
        torchs.convolution,
        streaming=partial(streaming_models, partial(draw_config, "mlp")),
        causality=partial(causality, scenes.window),
    ),
    function(functions.SOFTMAX, functions.SOFTMAX, torchs.softmax),
    function(functions.CROSS_ENTROPY, modules.CROSS_ENTROPY_LAYER, torchs.cross_entropy),
    function(functions.LAYER_NORM, modules.LAYER_NORM_LAYER, torchs.layer_norm),
    Row(
        functions.ROTARY.name,
        {
            "exact": partial(exact, functions.ROTARY),
            **gradients(functions.ROTARY),
            **dict.fromkeys((f"torch.nn {name}" for name in DTYPES), "it has no rotary positions"),
            "streaming": relative,
            "causality": NO_PLACES,
        },
    ),
    function(
        functions.ATTENTION,
        modules.ATTENTION_LAYER,
        torchs.attended,
        causality=sees_a_set(functions.ATTENTION),
    ),
    function(
        functions.ATTENTION_MASKED,
        modules.ATTENTION_MASKED_LAYER,
        torchs.attended,
        causality=sees(functions.ATTENTION_MASKED),
    ),
    function(
        functions.BLOCKS,
        functions.BLOCKS,
        torchs.attended,
        exact=partial(fifty_digits, functions.BLOCKS),
        causality=sees_a_set(functions.BLOCKS),
    ),
    function(
        functions.BLOCKS_MASKED,
        functions.BLOCKS_MASKED,
        torchs.attended,
        exact=partial(fifty_digits, functions.BLOCKS_MASKED),
        causality=sees(functions.BLOCKS_MASKED),
    ),
    function(
        modules.MULTI_HEAD,
        modules.MULTI_HEAD,
        torchs.multi_head,
        exact=COMPOSED,
        causality=partial(equivariance, modules.MULTI_HEAD, modules.ATTENDED),
    ),
    function(
        modules.MULTI_HEAD_MASKED,
        modules.MULTI_HEAD_MASKED,
        torchs.multi_head,
        exact=COMPOSED,
        causality="its masks are attention's",
    ),
    Row(
        modules.TRANSFORMER.name,
        {
            "exact": COMPOSED,
            "finite diff.": partial(fewer, 3, partial(differences, modules.TRANSFORMER)),
            "autograd": partial(autograd, modules.TRANSFORMER),
            **parity(modules.UNPLACED_TRANSFORMER, torchs.encoder),
            "streaming": partial(streaming_models, partial(draw_config, "transformer")),
            "causality": partial(together, [partial(causality, scenes.transformer), order]),
        },
    ),
]
RECURRENT = [
    *(recurrent(variant) for variant in VARIANTS),
    *(read_from_ids(name) for name in from_ids.SUBJECTS),
]
ROWS = [
    *sorted(RECURRENT, key=lambda row: ORDER.index(row.name.split(",")[0])),  # by family
    *FUNCTIONS,
]
TABLES = (Table("family", CHECKS, ROWS), Table("kernel", kernel_rows.CHECKS, kernel_rows.ROWS))
