"""The rows and the columns of the table: what is proven, and by which check."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from carousel.verify import attention, causality_cases, from_ids, functions, kernel_rows, modules
from carousel.verify.autograd import BOUND as AUTOGRAD_BOUND
from carousel.verify.autograd import autograd
from carousel.verify.causality import causality
from carousel.verify.check_result import CheckResult, worst
from carousel.verify.differences import BOUND as DIFFERENCES_BOUND
from carousel.verify.differences import differences
from carousel.verify.exact import exact
from carousel.verify.high_precision import BOUND as DIGITS_BOUND
from carousel.verify.high_precision import in_high_precision
from carousel.verify.models import draw_config, draw_recurrent
from carousel.verify.op_spec import OpSpec
from carousel.verify.permutations import BOUND as PERMUTED_BOUND
from carousel.verify.permutations import equivariance, order
from carousel.verify.positions import ROTARY, relative
from carousel.verify.recurrences import MASKED, RECURRENCES, RecurrentSpec
from carousel.verify.streaming import BOUND as STREAMING_BOUND
from carousel.verify.streaming import streaming
from carousel.verify.streaming_layers import streaming_layers
from carousel.verify.streaming_models import streaming_models
from carousel.verify.table import Check, Row, Table
from carousel.verify.torch_nn import BOUNDS, torch_nn
from carousel.verify.torch_nn_functions import against_torch, encoder

Examiner = Callable[[range], CheckResult]

CHECKS = (
    Check(
        "exact",
        5,
        "part of all derivatives in which the backward pass differs from the op's forward: without "
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


ORDER = [spec.name for spec in RECURRENCES.values()]
NO_STATE = "no state is handed on"
NO_PLACES = "nothing is before or after"
COMPOSED = "it is composed of the rows above"


def recurrent(spec: RecurrentSpec) -> Row:
    """Return the row of a recurrent family: its time loop, and its layer."""
    layer, is_masked = spec.layer, bool(spec.constants)
    return Row(
        spec.name,
        {
            "exact": partial(exact, spec),
            **gradients(spec),
            **{
                f"torch.nn {name}": layer.not_in_torch or partial(torch_nn, layer, is_masked, dtype)
                for name, dtype in DTYPES.items()
            },
            "streaming": partial(
                together,
                [
                    partial(streaming, spec),
                    partial(streaming_layers, layer, 0.3 if is_masked else 0.0),
                ],
            ),
            "causality": partial(causality, partial(causality_cases.recurrence, spec)),
        },
    )


def read_from_ids(name: str) -> Row:
    """Return the row of a recurrent family whose inputs are ids: its loop, layer and model."""
    spec = from_ids.SPECS[name]
    return Row(
        spec.name,
        {
            "exact": partial(exact, spec),
            **gradients(spec),
            **{
                column: spec.layer.not_in_torch or examine
                for column, examine in parity(from_ids.LAYERS_FROM_IDS[name]).items()
            },
            "streaming": partial(streaming_models, partial(draw_recurrent, name)),
            "causality": partial(causality, partial(from_ids.scene, spec)),
        },
    )


DTYPES = {"float64": torch.float64, "float32": torch.float32}


def gradients(one: OpSpec) -> dict[str, Examiner]:
    """Return the checks of everything that has a backward pass."""
    return {"finite diff.": partial(differences, one), "autograd": partial(autograd, one)}


def parity(layer: OpSpec) -> dict[str, Examiner]:
    """Return the comparison of a layer, or of an op that has none, with torch's."""
    return {
        f"torch.nn {name}": partial(against_torch, layer, dtype) for name, dtype in DTYPES.items()
    }


def function(one: OpSpec, layer: OpSpec, **others: Examiner | str) -> Row:
    """Return the row of an op; what nothing else is said of is pure, and knows no places."""
    return Row(
        one.name,
        {
            "exact": partial(exact, one),
            **gradients(one),
            **parity(layer),
            "streaming": NO_STATE,
            "causality": NO_PLACES,
            **others,
        },
    )


def together(examiners: Sequence[Examiner], seeds: range) -> CheckResult:
    """Return the worst that several checks find."""
    return worst(examine(seeds) for examine in examiners)


def fewer(number: int, examine: Examiner, seeds: range) -> CheckResult:
    """Limit a costly check to this many of the seeds."""
    return examine(seeds[:number])


def sees(one: OpSpec) -> Examiner:
    """Return the causality check of an attention."""
    return partial(causality, partial(causality_cases.attention, one))


def sees_a_set(one: OpSpec) -> Examiner:
    """Return the causality check of an attention that sees everything, in any order."""
    return partial(together, [sees(one), partial(equivariance, one, attention.ATTENDED)])


FUNCTIONS = [
    function(functions.EMBEDDING, modules.EMBEDDING_LAYER),
    function(
        functions.MLP,
        modules.WINDOW_LAYER,
        streaming=partial(streaming_models, partial(draw_config, "mlp")),
        causality=partial(causality, causality_cases.window),
    ),
    function(functions.SOFTMAX, functions.SOFTMAX),
    function(functions.CROSS_ENTROPY, modules.CROSS_ENTROPY_LAYER),
    function(functions.LAYER_NORM, modules.LAYER_NORM_LAYER),
    Row(
        ROTARY.name,
        {
            "exact": partial(exact, ROTARY),
            **gradients(ROTARY),
            **dict.fromkeys((f"torch.nn {name}" for name in DTYPES), "it has no rotary positions"),
            "streaming": relative,
            "causality": NO_PLACES,
        },
    ),
    function(
        attention.ATTENTION,
        modules.ATTENTION_LAYER,
        causality=sees_a_set(attention.ATTENTION),
    ),
    function(
        attention.ATTENTION_MASKED,
        modules.ATTENTION_MASKED_LAYER,
        causality=sees(attention.ATTENTION_MASKED),
    ),
    function(
        attention.BLOCKS,
        attention.BLOCKS,
        exact=partial(in_high_precision, attention.BLOCKS),
        causality=sees_a_set(attention.BLOCKS),
    ),
    function(
        attention.BLOCKS_MASKED,
        attention.BLOCKS_MASKED,
        exact=partial(in_high_precision, attention.BLOCKS_MASKED),
        causality=sees(attention.BLOCKS_MASKED),
    ),
    function(
        modules.MULTI_HEAD,
        modules.MULTI_HEAD,
        exact=COMPOSED,
        causality=partial(equivariance, modules.MULTI_HEAD, modules.ATTENDED),
    ),
    function(
        modules.MULTI_HEAD_MASKED,
        modules.MULTI_HEAD_MASKED,
        exact=COMPOSED,
        causality="its masks are attention's",
    ),
    Row(
        modules.TRANSFORMER.name,
        {
            "exact": COMPOSED,
            "finite diff.": partial(fewer, 3, partial(differences, modules.TRANSFORMER)),
            "autograd": partial(autograd, modules.TRANSFORMER),
            **parity(replace(modules.UNPLACED_TRANSFORMER, reference=encoder)),
            "streaming": partial(streaming_models, partial(draw_config, "transformer")),
            "causality": partial(
                together, [partial(causality, causality_cases.transformer), order]
            ),
        },
    ),
]
RECURRENT = [
    *(recurrent(spec) for spec in [*RECURRENCES.values(), *MASKED.values()]),
    *(read_from_ids(name) for name in from_ids.SPECS),
]
ROWS = [
    *sorted(RECURRENT, key=lambda row: ORDER.index(row.name.split(",")[0])),  # by family
    *FUNCTIONS,
]
TABLES = (Table("family", CHECKS, ROWS), Table("kernel", kernel_rows.CHECKS, kernel_rows.ROWS))
