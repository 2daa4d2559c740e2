"""The second table: what is proven of the kernels."""

from collections.abc import Callable
from functools import partial

import torch

from carousel.verify import from_ids, kernel_streaming, kernels
from carousel.verify import kernel_decoding as decoding
from carousel.verify import kernel_heads as heads
from carousel.verify.causality import causality
from carousel.verify.check_result import CheckResult
from carousel.verify.kernels import BOUNDS, SENSIBLE, SMALL, Kernel, against_op
from carousel.verify.modules import CROSS_ENTROPY_LAYER, of_layer
from carousel.verify.recurrences import RECURRENCES
from carousel.verify.table import Check, Row
from carousel.verify.torch_nn import torch_nn
from carousel.verify.torch_nn_functions import against_torch

Examiner = Callable[[range], CheckResult]

F32, BF16 = torch.float32, torch.bfloat16

CHECKS = (
    Check(
        "ops float64",
        40,
        "outputs, last states and gradients, in single precision, against the op's in double, on "
        "the same numbers: several tiles, odd widths, one thread or two; writing: log p of all "
        "tokens along a text; what the stages make of logits and what is drawn, to 1e-12; bound "
        f"{BOUNDS[F32]:.0e}",
    ),
    Check(
        "torch.nn float32",
        50,
        "the layer that runs the kernel against its namesake: layers stacked, both directions, "
        f"batches packed; bound {BOUNDS[F32]:.0e}",
    ),
    Check(
        "streaming",
        10,
        "whole = a random split = one step at a time = saved and restored = any row of a batch, "
        "outputs and gradients; = inference, outputs; writing: a text in company, a character at "
        f"a time = alone, to the bit; bound {BOUNDS[F32]:.0e}",
    ),
    Check(
        "causality",
        4,
        "part of all pairs in which an output depends on what it must not see (what is later, "
        "after its sequence's end, or of another row), or not on what it must; bound 0",
    ),
    Check(
        "bfloat16",
        10,
        "products of bfloat16 numbers, summed in single precision: outputs, last states and "
        "gradients (rnn relu: outputs and states) against the op's in double, 64 or 80 units, up "
        f"to 41 time steps; bound {BOUNDS[BF16]:.0e}",
    ),
    Check(
        "unwritten",
        10,
        "the difference that it makes if all memory that the kernel allocates holds NaN before it "
        "is written, inference too; bound 0",
    ),
)


def kernel(name: str, use: str, one: Kernel, in_torch: Examiner) -> Row:
    """Return the row of a family's kernel, in one of its uses."""
    examiners: dict[str, Examiner] = {
        "ops float64": partial(against_op, one, SMALL, F32),
        "torch.nn float32": in_torch,
        "streaming": partial(kernel_streaming.streaming, one),
        "causality": partial(causality, partial(kernel_streaming.scene, one)),
        "bfloat16": partial(against_op, one, SENSIBLE, BF16),
        "unwritten": partial(kernels.unwritten, one),
    }
    cells: dict[str, Examiner | str] = {
        check: partial(kernels.where_it_runs, BF16 if check == "bfloat16" else F32, examine)
        for check, examine in examiners.items()
    }
    spec = RECURRENCES[name]
    if missing := spec.layer.not_in_torch:
        cells["torch.nn float32"] = missing
    return Row(f"kernel {spec.name}{use}", cells, backend="fused")


def rows(name: str) -> list[Row]:
    """Return what a family's kernel reads: vectors, those of packed sequences, ids."""
    reading, layer = kernels.reading(name), RECURRENCES[name].layer
    from_layer = of_layer(reading.op, partial(from_ids.ours, name))
    return [
        kernel(name, "", kernels.dense(name), partial(torch_nn, layer, False, F32)),
        kernel(name, ", packed", kernels.packed(name), partial(torch_nn, layer, True, F32)),
        kernel(name, from_ids.SUFFIX, reading, partial(against_torch, from_layer, F32)),
    ]


WRITING = Row(
    "kernel writing",
    {
        "ops float64": partial(kernels.where_it_runs, F32, partial(decoding.against_op, F32)),
        "torch.nn float32": "it writes texts",
        "streaming": partial(kernels.where_it_runs, F32, decoding.streaming),
        "causality": partial(kernels.where_it_runs, F32, decoding.causality),
        "bfloat16": partial(kernels.where_it_runs, BF16, partial(decoding.against_op, BF16)),
        "unwritten": partial(kernels.where_it_runs, F32, decoding.unwritten),
    },
    backend="fused",
)


def head(name: str, one: heads.Head, cells: dict[str, Examiner | str]) -> Row:
    """Return the row of what a model ends in."""
    every: dict[str, Examiner | str] = {
        "streaming": "no state is handed on",
        "causality": "nothing is before or after",
        "unwritten": partial(heads.unwritten, one),
        **cells,
    }
    here = {
        check: of if isinstance(of, str) else partial(kernels.where_it_runs, one.compute_dtype, of)
        for check, of in every.items()
    }
    return Row(f"kernel {name}", here, backend="fused")


HALF = "its products are of bfloat16 numbers"
HEADS = [
    head(
        "cross-entropy",
        heads.CROSS_ENTROPY_HEAD,
        {
            "ops float64": partial(heads.against_op, heads.CROSS_ENTROPY_HEAD),
            "torch.nn float32": partial(against_torch, CROSS_ENTROPY_LAYER, F32),
            "bfloat16": "it has no products",
        },
    ),
    head(
        "linear",
        heads.LINEAR_HEAD,
        {
            "ops float64": HALF,
            "torch.nn float32": HALF,
            "bfloat16": partial(heads.against_op, heads.LINEAR_HEAD),
        },
    ),
]
ROWS = [*(row for name in kernels.FAMILIES for row in rows(name)), *HEADS, WRITING]
