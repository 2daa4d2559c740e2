"""The options of the LSTM that torch lacks, and which go together. Imports no torch."""

from collections.abc import Mapping

# What torch lacks, and the value that switches it off.
OPTIONS: dict[str, object] = {
    "peephole": False,
    "coupled": False,
    "forget_gate": True,
    "layer_norm": False,
    "zoneout": 0.0,
    "recurrent_dropout": 0.0,
    "variational_dropout": 0.0,
}


def clashing_options(options: Mapping[str, object], proj_size: int) -> tuple[str, str] | None:
    """Return two options that are not verified together; None: there are no such two.

    Args:
        options: Values by name, as in OPTIONS; a missing one is off.
        proj_size: 0 is off.
    """
    on = [name for name, off in OPTIONS.items() if options.get(name, off) != off]
    on += ["proj_size"] if proj_size else []
    kinds = [name for name in on if name in ("coupled", "forget_gate", "layer_norm")]
    plain_only = [name for name in on if name in ("peephole", "recurrent_dropout", "proj_size")]
    clashing = kinds[1:] + plain_only
    return (kinds[0], clashing[0]) if kinds and clashing else None
