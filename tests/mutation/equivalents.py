"""The mutants that survive since they say the same, and why they do."""

import ast
from typing import NamedTuple

from mutation_runner import functions_of

from carousel.verify.recurrences import RECURRENCES


class Equivalent(NamedTuple):
    """In a function, this expression may become any of those, for that reason.

    Attributes:
        place: The module and the function.
        was: The expression; a local variable may have any name, see tests/anchors.py.
        becomes: What it may become, with the same names.
        reason: Why that says the same.
        given: More code of the function, which says what the names stand for.
    """

    place: str
    was: str
    becomes: tuple[str, ...]
    reason: str
    given: str = ""


LAST_AXIS = "the tensors are matrices: axis 1 is the last"
ORDER = "each share finds its weight by name; in which order they stand is of no matter"
PEEPHOLES = "the three peepholes are there together or not at all"
FOUR_AXES = "the tensors have four axes: 2 is the last but one"
QUERIES = "there are as many of them as queries"
WIDTH_OF_HEAD = "a query and a key have equally many features"
IN_ROWS = "d is dlooked in another shape"
ZEROS = "0 times any (B, H) is the same block of zeros"

# Of a function's variables: which is which.
OF_GRU = """
(dh,) = dstate
h_prev, r, z, n, read = cache
dn = dh * (1 - z) * (1 - n * n)
dread = dn @ w_n
dr = dread * h_prev * r * (1 - r)
dz = dh * (h_prev - n) * z * (1 - z)
"""
OF_LOOKUP = "into, d = rows.flatten(), dlooked[None].flatten(0, -2)"
OF_ATTENTION = "q, k, v, p, keep = trace"
OF_BLOCKS = """
q, k, v, y, log_total, sight = trace
dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
along = (dy * y).sum(-1, keepdim=True)
"""
OF_SCORES = "s: Tensor = (q[..., rows, :] * _) @ k[..., columns, :].mT"

SHARES_OF_READ = (
    'WeightGradient("w_hh", torch.cat([dr, dz, none], dim=-1), h_prev)',
    'WeightGradient("w_hh", torch.cat([none, none, dn], dim=-1), read)',
)
SHARES_OF_PEEPHOLES = (
    'WeightGradient("w_ci", da_i * c_prev, None)',
    'WeightGradient("w_cf", da_f * c_prev, None)',
)
SHARES_OF_NORMS = (
    'WeightGradient("w_hh", du, h_prev)',
    'WeightGradient("gain_hh", da * unit_u, None)',
    'WeightGradient("gain_c", dv * unit_c, None)',
    'WeightGradient("shift_c", dv, None)',
)


def in_list(items: tuple[str, ...], order: str = "") -> str:
    """Write a list of expressions, in another order if one is given."""
    return f"[{', '.join(items[int(k)] for k in order) if order else ', '.join(items)}]"


EQUIVALENTS = [
    Equivalent(
        "recurrence.backward",
        "zip(dy.unbind(0), trace.caches, strict=True)",
        ("zip(dy.unbind(0), trace.caches, strict=False)",),
        "outputs and caches are equally many",
    ),
    Equivalent(
        "recurrence.backward",
        "zip(dy.unbind(0), trace.caches, strict=True)",
        ("zip(dy, trace.caches, strict=True)",),
        "to go through a tensor is to go along its first axis",
    ),
    Equivalent(
        "recurrence.project_embedding_backward",
        "d.x[0, 1:]",
        ("d.x[-1, 1:]",),
        "the tokens are the inputs of one time step: the first is the last",
    ),
    Equivalent(
        "recurrence._with_none",
        "source.x[:1]",
        ("source.w_ih[:1]",),
        "a row of weights has as many numbers as a vector: the zeros are the same",
    ),
    Equivalent("gru.step_backward", "torch.cat(_, dim=-1)", ("torch.cat(_, dim=1)",), LAST_AXIS),
    Equivalent(
        "gru.step_reset_before_backward",
        "torch.cat(_, dim=-1)",
        ("torch.cat(_, dim=1)",),
        LAST_AXIS,
    ),
    Equivalent(
        "gru.step_reset_before_backward",
        "0 * dn",
        tuple(
            f"0 * {name}" for name in ("dh", "dr", "dread", "dz", "h_prev", "n", "r", "read", "z")
        ),
        ZEROS,
        OF_GRU,
    ),
    Equivalent(
        "gru.step_reset_before_backward",
        in_list(SHARES_OF_READ),
        (in_list(SHARES_OF_READ, "10"),),
        "two shares of one weight: a sum has no order",
    ),
    Equivalent("lstm.step_backward", "torch.cat(_, dim=-1)", ("torch.cat(_, dim=1)",), LAST_AXIS),
    Equivalent(
        "lstm_variants.step_with_options_backward",
        "torch.cat(_, dim=-1)",
        ("torch.cat(_, dim=1)",),
        LAST_AXIS,
    ),
    Equivalent(
        "lstm_variants.step_with_options_backward",
        "'w_co' in _",
        ("'w_ci' in _", "'w_cf' in _"),
        PEEPHOLES,
    ),
    Equivalent(
        "lstm_variants.step_with_options_backward",
        "'w_ci' in _",
        ("'w_co' in _", "'w_cf' in _"),
        PEEPHOLES,
    ),
    Equivalent(
        "lstm_variants.step_with_options_backward",
        in_list(SHARES_OF_PEEPHOLES),
        (in_list(SHARES_OF_PEEPHOLES, "10"),),
        ORDER,
    ),
    Equivalent(
        "lstm_variants.gates_backward",
        "torch.cat(_, dim=-1)",
        ("torch.cat(_, dim=1)",),
        LAST_AXIS,
    ),
    Equivalent(
        "lstm_variants.step_layer_norm_backward",
        "torch.cat(_, dim=-1)",
        ("torch.cat(_, dim=1)",),
        LAST_AXIS,
    ),
    Equivalent(
        "lstm_variants.step_layer_norm_backward",
        in_list(SHARES_OF_NORMS),
        tuple(in_list(SHARES_OF_NORMS, order) for order in ("1023", "0213", "0132")),
        ORDER,
    ),
    Equivalent(
        "cross_entropy.backward",
        "torch.ones_like(here, dtype=p.dtype)",
        ("torch.ones_like(p, dtype=p.dtype)",),
        "of what is added only as much is read as there are places to add it to",
    ),
    Equivalent(
        "cross_entropy.backward",
        "torch.ones_like(_, dtype=p.dtype)",
        ("torch.ones_like(_, dtype=dloss.dtype)",),
        "a loss has the precision of its p",
        "dlogits * dloss.unsqueeze(-1)",
    ),
    Equivalent(
        "embedding.look_up_backward",
        "dlooked.new_zeros",
        ("d.new_zeros",),
        IN_ROWS,
        OF_LOOKUP,
    ),
    Equivalent(
        "embedding.look_up_backward", "d.shape[-1]", ("dlooked.shape[-1]",), IN_ROWS, OF_LOOKUP
    ),
    Equivalent("embedding.look_up_backward", "d.shape[-1]", ("d.shape[1]",), LAST_AXIS),
    Equivalent("attention.backward", "q.shape[-1]", ("k.shape[-1]",), WIDTH_OF_HEAD, OF_ATTENTION),
    Equivalent(
        "flash_attention.backward", "q.shape[-1]", ("k.shape[-1]",), WIDTH_OF_HEAD, OF_BLOCKS
    ),
    Equivalent(
        "flash_attention._scores", "q.shape[-1]", ("k.shape[-1]",), WIDTH_OF_HEAD, OF_SCORES
    ),
    Equivalent(
        "flash_attention.backward",
        "_blocks(q.shape[-2], _)",
        tuple(f"_blocks({name}.shape[-2], _)" for name in ("dq", "y", "dy", "log_total", "along")),
        QUERIES,
        OF_BLOCKS,
    ),
    Equivalent(
        "flash_attention.backward",
        "_blocks(q.shape[-2], _)",
        tuple(f"_blocks({name}.shape[-2], _)" for name in ("k", "v", "dk", "dv")),
        "there are as many keys as queries, or more; blocks past the last query are empty",
        OF_BLOCKS,
    ),
    Equivalent("flash_attention.backward", "q.shape[-2]", ("q.shape[2]",), FOUR_AXES),
    Equivalent(
        "flash_attention.backward",
        "_seen(rows, q, _, _1, _2)",
        tuple(
            f"_seen(rows, {name}, _, _1, _2)" for name in ("dq", "y", "dy", "log_total", "along")
        ),
        QUERIES,
        OF_BLOCKS,
    ),
    Equivalent(
        "flash_attention.backward",
        "_seen(rows, q, k, _, _1)",
        tuple(f"_seen(rows, q, {name}, _, _1)" for name in ("v", "dk", "dv")),
        "there are as many values as keys",
        OF_BLOCKS,
    ),
    Equivalent(
        "flash_attention._scores",
        "s.shape[:2]",
        ("q.shape[:2]", "k.shape[:2]"),
        "texts and heads are equally many everywhere",
        OF_SCORES,
    ),
    Equivalent("flash_attention._scores", "q.shape[-2]", ("q.shape[2]",), FOUR_AXES),
    Equivalent("flash_attention._scores", "k.shape[-2]", ("k.shape[2]",), FOUR_AXES),
    Equivalent(
        "flash_attention._scores",
        "q.device",
        ("s.device", "k.device"),
        "all are on one device",
        OF_SCORES,
    ),
    Equivalent("flash_attention._seen", "q.shape[-2]", ("q.shape[2]",), FOUR_AXES),
    Equivalent("flash_attention._seen", "k.shape[-2]", ("k.shape[2]",), FOUR_AXES),
    Equivalent(
        "flash_attention._seen",
        "max(0, past + rows.start - sight.context + 1)",
        ("max(past + rows.start - sight.context + 1, 0)",),
        "a maximum has no order",
    ),
    Equivalent(
        "flash_attention._blocks",
        "min(begin + block, stop)",
        ("min(stop, begin + block)",),
        "a minimum has no order",
    ),
]
# Whatever the backward pass of another family packs is a matrix.
NAMED = {equivalent.place.partition(".")[0] for equivalent in EQUIVALENTS} | {"rnn"}
EQUIVALENTS += [
    Equivalent(
        f"{spec.module}.{function}", "torch.cat(_, dim=-1)", ("torch.cat(_, dim=1)",), LAST_AXIS
    )
    for spec in RECURRENCES.values()
    if spec.module not in NAMED
    for function, tree in functions_of(spec.module).items()
    if function.endswith("_backward") and "torch.cat(" in ast.unparse(tree)
]
