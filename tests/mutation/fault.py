"""A fault that a test plants in our code."""

from typing import NamedTuple

from anchors import Edit


class Fault(NamedTuple):
    """A fault: which passage of which module becomes what, and who must see it.

    Attributes:
        title: What is wrong, in a few words.
        seen_in: Where it occurred: a public thread, or "classic" for a slip that many make.
        why: Why training seems to work all the same.
        module: The module that it is planted in, of carousel.ops; in groups 4 and 8 of
            carousel.nn.
        function: The function of that module, as an Edit names it (tests/anchors.py).
        was: The code that stands there; a local variable may have any name.
        becomes: What stands there instead.
        case: The family or variant to look at, or the op and its use (tests/op_trials.py), or the
            layer.
        seen_by: The checks that must see it; those not named must not (tests/op_checks.py, and
            layer_checks.py and block_checks.py beside this file).
        bias: Whether to look at it with biases.
        masked: Whether to look at it with masks.
        given: More code of that function, which says what the names in `was` stand for.
        label: The label of an equation that stands beside the place.
        also: Further edits: a fault of the forward pass whose reverse is right is consistent in
            itself.
    """

    title: str
    seen_in: str
    why: str
    module: str
    function: str
    was: str
    becomes: str
    case: str
    seen_by: str
    bias: bool = True
    masked: bool = False
    given: str = ""
    label: str = ""
    also: tuple[Edit, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What is changed in the module."""
        return Edit(self.function, self.was, self.becomes, self.given, self.label), *self.also
