"""What RNN, GRU and LSTM have in common as torch modules: arguments, parameters, call, repr.

T time steps, B sequences, D input features, H units, P features of the output (H without
projection), L layers, times 2 where bidirectional.
"""

import warnings

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from carousel.kernels.dispatch import Backend, check_backend
from carousel.nn import packing, parameters, validation
from carousel.nn.autograd import disable_autocast, product_type
from carousel.nn.embedded import Embedded
from carousel.nn.packing import Layout
from carousel.nn.recurrent_layer import RecurrentLayer
from carousel.nn.regularization import NO_EXTRAS, Extras
from carousel.nn.stack import stack
from carousel.ops.recurrence import Family, State


def set_arguments(
    layer: RecurrentLayer,
    mode: str,
    *,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    batch_first: bool,
    dropout: float,
    bidirectional: bool,
    backend: Backend,
    proj_size: int = 0,
) -> None:
    """Keep a layer's arguments, after a check of each."""
    validation.check_probability("dropout", dropout)
    validation.check_is("bias", bias, bool)
    validation.check_is("batch_first", batch_first, bool)
    layer.input_size = validation.as_size("input_size", input_size)
    layer.hidden_size = validation.as_size("hidden_size", hidden_size)
    layer.num_layers = validation.as_size("num_layers", num_layers)
    layer.proj_size = validation.as_size("proj_size", proj_size)
    validation.check_sizes(
        input_size=layer.input_size,
        hidden_size=layer.hidden_size,
        num_layers=layer.num_layers,
        proj_size=layer.proj_size,
    )
    check_backend(backend)
    if dropout > 0 and layer.num_layers == 1:
        message = f"dropout={dropout} acts between layers, and there is one layer only"
        warnings.warn(message, stacklevel=3)  # points to where the layer is made
    layer.mode = mode
    layer.bias = bias
    layer.batch_first = batch_first
    layer.dropout = float(dropout)
    layer.bidirectional = bidirectional
    layer.backend = backend


def add_parameters(
    layer: RecurrentLayer,
    gates: int,
    device: parameters.Device,
    dtype: torch.dtype | None,
    *,
    peephole: bool = False,
    layer_norm: bool = False,
) -> None:
    """Make the parameters of all layers, and note their names by layer and direction."""
    layer._all_weights = []
    for k in range(layer.num_layers):
        width = (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)
        shapes = parameters.shapes(
            gates,
            layer.input_size if k == 0 else width,
            layer.hidden_size,
            bias=layer.bias,
            proj_size=layer.proj_size,
            peephole=peephole,
            layer_norm=layer_norm,
        )
        for suffix in parameters.suffixes(k, layer.bidirectional):
            parameters.register(layer, shapes, suffix, device=device, dtype=dtype)
            layer._all_weights.append([name + suffix for name in shapes])


def describe(layer: RecurrentLayer, beyond_torch: dict[str, tuple[object, object]]) -> str:
    """Return the arguments that differ from their defaults, torch's first and as torch does.

    Args:
        layer: The layer.
        beyond_torch: Value and default of each argument that torch lacks.
    """
    shown = [f"{layer.input_size}, {layer.hidden_size}"]
    if layer.proj_size != 0:
        shown.append(f"proj_size={layer.proj_size}")
    if layer.num_layers != 1:
        shown.append(f"num_layers={layer.num_layers}")
    if layer.bias is not True:
        shown.append(f"bias={layer.bias}")
    if layer.batch_first is not False:
        shown.append(f"batch_first={layer.batch_first}")
    if layer.dropout != 0:
        shown.append(f"dropout={layer.dropout}")
    if layer.bidirectional is not False:
        shown.append(f"bidirectional={layer.bidirectional}")
    beyond_torch = beyond_torch | {"backend": (layer.backend, "auto")}
    shown += [
        f"{name}={value!r}" for name, (value, plain) in beyond_torch.items() if value != plain
    ]
    return ", ".join(shown)


def call(
    layer: RecurrentLayer,
    family: Family,
    input: Tensor | PackedSequence,
    state: State | None,
    extras: Extras = NO_EXTRAS,
) -> tuple[Tensor | PackedSequence, State]:
    """Run an input of any form through a layer; output and last state are of the same form.

    Raises:
        TypeError: If the input is no tensor.
        ValueError: If its axes or its type do not fit.
        RuntimeError: If its features, its length, or a part of the state do not fit.
    """
    if isinstance(input, PackedSequence):
        return call_packed(layer, family, input, state, extras)
    validation.check_axes(layer.mode.split("_")[0], input, (2, 3))
    is_batched = input.dim() == 3
    x = input if is_batched else input.unsqueeze(1)
    x = x.transpose(0, 1) if layer.batch_first and is_batched else x  # (T, B, D)
    check_input(layer, x, ValueError)
    if x.shape[0] == 0:
        raise RuntimeError("input has no time steps; it needs at least 1")
    rows = (x.shape[1],) if is_batched else ()
    start = initial_state(layer, x, state, rows)
    start = start if is_batched else tuple(part.unsqueeze(1) for part in start)
    y, last = through_all(
        layer, family, x, start, extras, is_batch_first=layer.batch_first and is_batched
    )
    return (y, last) if is_batched else (y.squeeze(1), tuple(part.squeeze(1) for part in last))


def call_packed(
    layer: RecurrentLayer,
    family: Family,
    input: PackedSequence,
    state: State | None,
    extras: Extras,
) -> tuple[PackedSequence, State]:
    """Run a packed batch; states are in the user's order, sequences within by their length."""
    if input.data.dim() != 2:
        raise RuntimeError(f"packed data must have 2 axes, got {input.data.dim()}")
    # torch's LSTM meets a wrong type in its first product only.
    check_input(layer, input.data, RuntimeError if layer.mode == "LSTM" else ValueError)
    lengths = packing.layout(input)
    start = initial_state(layer, input.data, state, (lengths.batch,))
    if input.sorted_indices is not None:
        start = tuple(part.index_select(1, input.sorted_indices) for part in start)
    x = packing.pad(input.data, lengths)
    y, last = through_all(layer, family, x, start, extras, lengths)
    if input.unsorted_indices is not None:
        last = tuple(part.index_select(1, input.unsorted_indices) for part in last)
    return PackedSequence(packing.pack(y, lengths), *input[1:]), last


def through_all(
    layer: RecurrentLayer,
    family: Family,
    x: Tensor | Embedded,
    state: State,
    extras: Extras,
    lengths: Layout | None = None,
    *,
    is_batch_first: bool = False,
) -> tuple[Tensor, State]:
    """Run x (T, B, D), or ids (T, B), through the stack, in the precision of its weights.

    The outputs are (T, B, ·), or (B, T, ·) if is_batch_first.
    """
    layers = [parameters.collect(layer, names) for names in layer._all_weights]
    directions = 2 if layer.bidirectional else 1
    dtype, product = layers[0].w_ih.dtype, product_type(layers[0].w_ih)
    with disable_autocast(x.device):
        return stack(
            family,
            x.to(dtype),
            tuple(part.to(dtype) for part in state),
            [layers[k : k + directions] for k in range(0, len(layers), directions)],
            lengths=lengths,
            is_batch_first=is_batch_first,
            dropout=layer.dropout,
            extras=extras,
            is_training=layer.training,
            backend=layer.backend,
            product=product,
        )


def check_input(layer: RecurrentLayer, x: Tensor, kind: type[Exception]) -> None:
    """Refuse an input of another type or of other features."""
    validation.check_fits("input", x, first_weight(layer), kind)
    validation.check_features(x, layer.input_size)


def initial_state(
    layer: RecurrentLayer, x: Tensor, state: State | None, rows: tuple[int, ...]
) -> State:
    """Return the given state after a check, or zeros; each part (2·L or L, *rows, H or P)."""
    cells = layer.num_layers * (2 if layer.bidirectional else 1)
    shapes = {"h_0": (cells, *rows, layer.proj_size or layer.hidden_size)}
    if layer.mode == "LSTM":
        shapes["c_0"] = (cells, *rows, layer.hidden_size)
    if state is None:
        return tuple(x.new_zeros(shape) for shape in shapes.values())
    validation.check_shapes(state, shapes)
    for name, part in zip(shapes, state, strict=True):
        validation.check_fits(name, part, first_weight(layer), RuntimeError)
    return state


def first_weight(layer: RecurrentLayer) -> Tensor:
    """Return weight_ih_l0, whose type and device are those of all."""
    weight: Tensor = getattr(layer, layer._all_weights[0][0])
    return weight
