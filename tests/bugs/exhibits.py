"""What an exhibit of the bug museum is."""

from typing import NamedTuple


class Exhibit(NamedTuple):
    """A fault: which passage of which module becomes what, and who must see it.

    Attributes:
        title: What is wrong, in a few words.
        seen_in: Where it occurred: a public thread, or "classic" for a slip that many make.
        why: Why training seems to work all the same.
        module: The module that it is planted in, of carousel.ops; in room 4 of carousel.layers.
        was: What stands there, once.
        becomes: What stands there instead.
        case: The family or variant to look at (tests/recurrences.py), or the layer.
        seen_by: The checks that must see it; those not named must not
            (tests/recurrence_checks.py, and layer_checks.py beside this file).
        bias: Whether to look at it with biases.
        masked: Whether to look at it with masks.
    """

    title: str
    seen_in: str
    why: str
    module: str
    was: str
    becomes: str
    case: str
    seen_by: str
    bias: bool = True
    masked: bool = False
