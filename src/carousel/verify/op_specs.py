"""All OpSpecs: of every recurrent family, plain, masked and from ids, and of every other op."""

from carousel.verify import from_ids
from carousel.verify.attention import ATTENTION_SPECS
from carousel.verify.functions import FUNCTIONS
from carousel.verify.op_spec import OpSpec
from carousel.verify.positions import POSITIONS
from carousel.verify.recurrences import MASKED, RECURRENCES

OP_SPECS: dict[str, OpSpec] = {
    **RECURRENCES,
    **{f"{name}_masked": spec for name, spec in MASKED.items()},
    **{f"{name}_from_ids": spec for name, spec in from_ids.SPECS.items()},
    **FUNCTIONS,
    **POSITIONS,
    **ATTENTION_SPECS,
}
