"""The mutants that survive since they say the same, and why they do."""

from typing import NamedTuple


class Equivalent(NamedTuple):
    """In a function, this passage may become any of those, for that reason."""

    place: str
    was: str
    becomes: tuple[str, ...]
    reason: str


LAST_AXIS = "the tensors are matrices: axis 1 is the last"
ORDER = "each share finds its weight by name; in which order they stand is of no matter"
PEEPHOLES = "the three peepholes are there together or not at all"
SHARES_OF_READ = (
    "Product('w_hh', torch.cat([dr, dz, none], dim=-1), h_prev)",
    "Product('w_hh', torch.cat([none, none, dn], dim=-1), read)",
)
FOUR_AXES = "the tensors have four axes: 2 is the last but one"
QUERIES = "there are as many of them as queries"
WIDTH_OF_HEAD = "a query and a key have equally many features"
IN_ROWS = "d is dlooked in another shape"
ZEROS = "0 times any (B, H) is the same block of zeros"

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
        "recurrence.tabulate_backward",
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
    Equivalent("gru.step_backward", "dim=-1", ("dim=1",), LAST_AXIS),
    Equivalent("gru.step_reset_before_backward", "dim=-1", ("dim=1",), LAST_AXIS),
    Equivalent(
        "gru.step_reset_before_backward",
        "0 * dn",
        tuple(
            f"0 * {name}" for name in ("dh", "dr", "dread", "dz", "h_prev", "n", "r", "read", "z")
        ),
        ZEROS,
    ),
    Equivalent(
        "gru.step_reset_before_backward",
        ", ".join(SHARES_OF_READ),
        (", ".join(reversed(SHARES_OF_READ)),),
        "two shares of one weight: a sum has no order",
    ),
    Equivalent("lstm.step_backward", "dim=-1", ("dim=1",), LAST_AXIS),
    Equivalent("lstm.step_backward", "'w_co' in", ("'w_ci' in", "'w_cf' in"), PEEPHOLES),
    Equivalent("lstm.step_backward", "'w_ci' in", ("'w_co' in", "'w_cf' in"), PEEPHOLES),
    Equivalent(
        "lstm.step_backward",
        "Product('w_ci', da_i * c_prev, None), Product('w_cf', da_f * c_prev, None)",
        ("Product('w_cf', da_f * c_prev, None), Product('w_ci', da_i * c_prev, None)",),
        ORDER,
    ),
    Equivalent("lstm_three_gates.gates_backward", "dim=-1", ("dim=1",), LAST_AXIS),
    Equivalent("lstm_layer_norm.step_backward", "dim=-1", ("dim=1",), LAST_AXIS),
    Equivalent(
        "lstm_layer_norm.step_backward",
        "Product('w_hh', du, h_prev), Product('gain_hh', da * unit_u, None)",
        ("Product('gain_hh', da * unit_u, None), Product('w_hh', du, h_prev)",),
        ORDER,
    ),
    Equivalent(
        "lstm_layer_norm.step_backward",
        "Product('gain_hh', da * unit_u, None), Product('gain_c', dv * unit_c, None)",
        ("Product('gain_c', dv * unit_c, None), Product('gain_hh', da * unit_u, None)",),
        ORDER,
    ),
    Equivalent(
        "lstm_layer_norm.step_backward",
        "Product('gain_c', dv * unit_c, None), Product('shift_c', dv, None)",
        ("Product('shift_c', dv, None), Product('gain_c', dv * unit_c, None)",),
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
        "dtype=p.dtype",
        ("dtype=dloss.dtype",),
        "a loss has the precision of its p",
    ),
    Equivalent(
        "lookup.look_up_backward",
        "dlooked.new_zeros",
        ("d.new_zeros",),
        IN_ROWS,
    ),
    Equivalent("lookup.look_up_backward", "d.shape[-1]", ("dlooked.shape[-1]",), IN_ROWS),
    Equivalent("lookup.look_up_backward", "d.shape[-1]", ("d.shape[1]",), LAST_AXIS),
    Equivalent("attention.backward", "q.shape[-1]", ("k.shape[-1]",), WIDTH_OF_HEAD),
    Equivalent("attention_in_blocks.backward", "q.shape[-1]", ("k.shape[-1]",), WIDTH_OF_HEAD),
    Equivalent("attention_in_blocks._scores", "q.shape[-1]", ("k.shape[-1]",), WIDTH_OF_HEAD),
    Equivalent(
        "attention_in_blocks.backward",
        "_blocks(q.shape[-2]",
        tuple(f"_blocks({name}.shape[-2]" for name in ("dq", "y", "dy", "log_total", "along")),
        QUERIES,
    ),
    Equivalent(
        "attention_in_blocks.backward",
        "_blocks(q.shape[-2]",
        tuple(f"_blocks({name}.shape[-2]" for name in ("k", "v", "dk", "dv")),
        "there are as many keys as queries, or more; blocks past the last query are empty",
    ),
    Equivalent("attention_in_blocks.backward", "q.shape[-2]", ("q.shape[2]",), FOUR_AXES),
    Equivalent(
        "attention_in_blocks.backward",
        "_seen(rows, q,",
        tuple(f"_seen(rows, {name}," for name in ("dq", "y", "dy", "log_total", "along")),
        QUERIES,
    ),
    Equivalent(
        "attention_in_blocks.backward",
        "_seen(rows, q, k,",
        tuple(f"_seen(rows, q, {name}," for name in ("v", "dk", "dv")),
        "there are as many values as keys",
    ),
    Equivalent(
        "attention_in_blocks._scores",
        "*s.shape[:2]",
        ("*q.shape[:2]", "*k.shape[:2]"),
        "texts and heads are equally many everywhere",
    ),
    Equivalent("attention_in_blocks._scores", "q.shape[-2]", ("q.shape[2]",), FOUR_AXES),
    Equivalent("attention_in_blocks._scores", "k.shape[-2]", ("k.shape[2]",), FOUR_AXES),
    Equivalent(
        "attention_in_blocks._scores",
        "device=q.device",
        ("device=s.device", "device=k.device"),
        "all are on one device",
    ),
    Equivalent("attention_in_blocks._seen", "q.shape[-2]", ("q.shape[2]",), FOUR_AXES),
    Equivalent("attention_in_blocks._seen", "k.shape[-2]", ("k.shape[2]",), FOUR_AXES),
    Equivalent(
        "attention_in_blocks._seen",
        "max(0, past + rows.start - sight.context + 1)",
        ("max(past + rows.start - sight.context + 1, 0)",),
        "a maximum has no order",
    ),
    Equivalent(
        "attention_in_blocks._blocks",
        "min(begin + block, stop)",
        ("min(stop, begin + block)",),
        "a minimum has no order",
    ),
]
