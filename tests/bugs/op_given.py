"""What an op is given beside the tensors that have a gradient."""

from typing import NamedTuple

from torch import Tensor

from carousel.ops.attention import ALL, AttentionMask

Tensors = dict[str, Tensor]


class Given(NamedTuple):
    """Ids, targets, and who sees whom; None where the op has no such thing.

    Attributes:
        ids: (B, n - 1 + T), -1 where there is no token.
        targets: (B, T).
        sight: Which keys a query sees, as attention takes it; its bias stands below.
        hidden: (T, S), which keys are hidden from which queries by a bias of -inf.
        bias: (N, T, S), where it is a constant.
        keep: (B, N, T, S), dropout's factors.
        block: Queries, and keys, of a block.
    """

    ids: Tensor | None = None
    targets: Tensor | None = None
    sight: AttentionMask = ALL
    hidden: Tensor | None = None
    bias: Tensor | None = None
    keep: Tensor | None = None
    block: int = 2
