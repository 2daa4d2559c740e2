"""The attributes of torch.nn.RNNBase that libraries read: lists of weights, argument checks."""

from typing import Any

from torch import Tensor

from carousel.nn import validation
from carousel.nn.layer import Layer


class RNNBase(Layer):
    """The methods and attributes of torch.nn.RNNBase; lists of parameters are made on request."""

    input_size: int
    hidden_size: int
    num_layers: int
    batch_first: bool
    bidirectional: bool
    proj_size: int
    _all_weights: list[list[str]]

    def flatten_parameters(self) -> None:
        """Do nothing; torch's layers have this method, here there is no packed copy to refresh."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        """The names of all parameters, in the order of their layers."""
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Tensor]:
        """All parameters, in the order of their layers."""
        return [weight for weights in self.all_weights for weight in weights]

    @_flat_weights.setter
    def _flat_weights(self, weights: object) -> None:
        raise AttributeError(
            "_flat_weights cannot be set: the layer reads its weights by name; "
            "use setattr(layer, 'weight_hh_l0', weight)"
        )

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Refuse an input (T, B, D), or packed data (N, D) with batch_sizes, that does not fit."""
        axes = 3 if batch_sizes is None else 2
        if input.dim() != axes:
            raise RuntimeError(f"input must have {axes} axes, got {input.dim()}")
        validation.check_fits("input", input, self._flat_weights[0], ValueError)
        validation.check_features(input, self.input_size)

    def get_expected_hidden_size(
        self, input: Tensor, batch_sizes: Tensor | None
    ) -> tuple[int, int, int]:
        """Return the shape of h_0 for such an input."""
        rows = input.shape[0 if self.batch_first else 1]
        batch = int(rows if batch_sizes is None else batch_sizes[0])
        count = self.num_layers * (2 if self.bidirectional else 1)
        return count, batch, self.proj_size or self.hidden_size

    def check_hidden_size(
        self,
        hx: Tensor,
        expected_hidden_size: tuple[int, int, int],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raise RuntimeError if a state has another shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Refuse an input, or a state, that does not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """Return a state, or a pair of them, with its batch rows reordered; None leaves them."""
        if permutation is None:
            return hx
        if isinstance(hx, tuple):
            return tuple(part.index_select(1, permutation) for part in hx)
        return hx.index_select(1, permutation)
