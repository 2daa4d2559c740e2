"""Look up rows of a table; the backward pass adds up the gradients of each row.

Derivation: math/recurrence/equations.md.
"""

from torch import Tensor


def look_up(rows: Tensor, table: Tensor) -> Tensor:
    """Return (…, G): of a table (R, G) the row that each of the numbers names."""
    return table[rows]  # (bptt.14)


def look_up_backward(dlooked: Tensor, rows: Tensor, size: int) -> Tensor:
    """Return the gradient of the table, (size, G): 0 where nothing was looked up."""
    into, d = rows.flatten(), dlooked[None].flatten(0, -2)  # also of a single row
    return added_up(dlooked.new_zeros(size, d.shape[-1]), into, d)  # (bptt.15)


def added_up(table: Tensor, into: Tensor, d: Tensor) -> Tensor:
    """Add each row of d to the row of the table that it belongs to.

    The same call gives the same bits, whatever the number of threads: index_put adds in another
    order each time on a CPU with threads, index_add on a GPU. In half precision too a sum of
    thousands is right on a CPU: index_add keeps it in single.
    """
    if d.device.type == "cpu":
        return table.index_add(0, into, d)
    return table.index_put((into,), d, accumulate=True)
