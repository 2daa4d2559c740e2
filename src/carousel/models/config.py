"""What a model is, apart from the text it reads. Imports no torch, so that --help is quick."""

import operator
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

from carousel.errors import ConfigError, shorten

GATES = {"rnn": 1, "gru": 3, "lstm": 4}  # blocks of H rows in a recurrent layer's matrices
CONTEXTS = {"mlp": 16, "transformer": 128}  # positions seen, where no setting says how many


# A config.json of another person's may ask for anything: these are refused before any memory or
# time is taken. Each is far above what one machine can train.
LARGEST = {
    "embedding_size": 1 << 20,
    "hidden_size": 1 << 20,
    "num_layers": 1000,
    "context_length": 1 << 20,
    "longest_memory": 1 << 30,
}


class _Variant(NamedTuple):
    """A setting that some architecture alone knows, and the value that leaves it as it is."""

    model: str
    plain: object


_VARIANTS = {
    "nonlinearity": _Variant("rnn", "tanh"),
    "reset_after": _Variant("gru", True),
    "peephole": _Variant("lstm", False),
    "coupled": _Variant("lstm", False),
    "forget_gate": _Variant("lstm", True),
    "layer_norm": _Variant("lstm", False),
    "proj_size": _Variant("lstm", 0),
    "zoneout": _Variant("lstm", 0.0),
    "recurrent_dropout": _Variant("lstm", 0.0),
    "variational_dropout": _Variant("lstm", 0.0),
    "num_heads": _Variant("transformer", 4),
    "positions": _Variant("transformer", "rotary"),
}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes, variant and initialisation of a model.

    A time step is a character of a text, or a number of a series.

    Attributes:
        model: Architecture.
        embedding_size: Features per time step fed to the first layer, D; the width of the
            transformer from end to end.
        hidden_size: Units per layer, H; of the transformer, per feed-forward layer.
        num_layers: Stacked layers, L.
        dropout: Probability of zeroing a feature on every non-recurrent connection in training.
        tie_weights: Share one matrix between embedding and output; needs D = H.
        initialization: "orthogonal" recurrent matrices per gate and the forget bias below (the
            mlp's and the transformer's scaled by their width and depth); "chrono", the same with
            gates that remember for 1 to longest_memory time steps; or "torch": every weight as
            torch's own layers draw it.
        forget_bias: Initial bias, under "orthogonal", of the gate that keeps the past (the LSTM's
            f, the GRU's z); a unit then remembers for about 1/(1 - sigmoid(bias)) time steps.
        longest_memory: Time steps that the slowest unit remembers at first, under "chrono".
        nonlinearity: Of the rnn.
        reset_after: Whether the GRU's reset gate acts after the recurrent product (as in torch)
            or, as in the paper of 2014, before it.
        peephole: Let the LSTM's gates see the cell.
        coupled: Let the LSTM forget as much as it takes in: f = 1 - i.
        forget_gate: Without it the LSTM is that of 1997, which never forgets.
        layer_norm: Normalise the LSTM's gates and its cell on the way out.
        proj_size: Features to which the LSTM's output is projected; 0 leaves all H.
        zoneout: Probability that a unit of the LSTM keeps its state for one more time step.
        recurrent_dropout: Probability of dropping what an LSTM unit would add to its cell.
        variational_dropout: Probability of dropping, for a whole window, a feature of an LSTM
            layer's input and of what it reads of its last output.
        context_length: Time steps that the mlp, and each layer of the transformer, sees: the last
            ones, the present one included. None: 16 of the mlp, 128 of the transformer.
        num_heads: Of the transformer's attention; a divisor of embedding_size.
        positions: How the transformer knows where a time step stands: "rotary" and "none" read on
            without end, "learned" and "sinusoidal" for context_length time steps only.
    """

    model: Literal["rnn", "gru", "lstm", "mlp", "transformer"] = "lstm"
    embedding_size: int = 64
    hidden_size: int = 256
    num_layers: int = 1
    dropout: float = 0.0
    tie_weights: bool = False
    initialization: Literal["orthogonal", "chrono", "torch"] = "orthogonal"
    forget_bias: float = 0.0
    longest_memory: int = 128
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    reset_after: bool = True
    peephole: bool = False
    coupled: bool = False
    forget_gate: bool = True
    layer_norm: bool = False
    proj_size: int = 0
    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    variational_dropout: float = 0.0
    context_length: int | None = None
    num_heads: int = 4
    positions: Literal["rotary", "learned", "sinusoidal", "none"] = "rotary"

    def __post_init__(self) -> None:
        """Reject what no model can be, naming the field and its value."""
        if self.model not in (*GATES, *CONTEXTS):
            raise ConfigError(
                f"model must be one of {', '.join((*GATES, *CONTEXTS))}, got {self.model!r}"
            )
        self._make_sizes_ints()
        for name, most in LARGEST.items():
            if (value := getattr(self, name)) is not None and value > most:
                raise ConfigError(f"{name} must be at most {most:,}, got {shorten(value)}")
        for name in ("embedding_size", "hidden_size", "num_layers"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        for name in ("dropout", "zoneout", "recurrent_dropout", "variational_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name, (model, plain) in _VARIANTS.items():
            if self.model != model and getattr(self, name) != plain:
                raise ConfigError(f"{name} is for --model {model}, this is {self.model}")
        self._check_gates()
        self._check_context()
        if not 0 <= self.proj_size < self.hidden_size:
            raise ConfigError(
                f"proj_size must be in [0, hidden_size), got {self.proj_size} "
                f"with hidden_size {self.hidden_size}"
            )
        if self.tie_weights and self.embedding_size != self.output_size:
            raise ConfigError(
                "tie_weights needs embedding_size = hidden_size (or proj_size), "
                f"got {self.embedding_size} and {self.output_size}"
            )

    def _make_sizes_ints(self) -> None:
        """Replace integers of other kinds, such as numpy's, which JSON does not know."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, bool) and hasattr(value, "__index__"):
                object.__setattr__(self, field.name, operator.index(value))

    def _check_gates(self) -> None:
        """Refuse variants that do not go together, and biases of gates that are not there."""
        kinds = {
            "coupled": self.coupled,
            "forget_gate false": not self.forget_gate,
            "layer_norm": self.layer_norm,
        }
        others = {
            "peephole": self.peephole,
            "proj_size": self.proj_size > 0,
            "recurrent_dropout": self.recurrent_dropout > 0,
        }
        chosen = [name for name, is_on in kinds.items() if is_on]
        clashing = [*chosen[1:], *(name for name, is_on in others.items() if is_on)]
        if chosen and clashing:
            raise ConfigError(f"{chosen[0]} does not go together with {clashing[0]}")
        has_keeping_gate = self.model == "gru" or (self.model == "lstm" and self.forget_gate)
        if not -100 <= self.forget_bias <= 100:
            raise ConfigError(f"forget_bias must be in [-100, 100], got {self.forget_bias}")
        if not has_keeping_gate and self.forget_bias != 0:
            raise ConfigError(f"forget_bias: this {self.model} has no gate that forgets")
        if not has_keeping_gate and self.initialization == "chrono":
            raise ConfigError(f"initialization chrono: this {self.model} has no gate that forgets")
        if self.longest_memory < 3:
            raise ConfigError(f"longest_memory must be at least 3, got {self.longest_memory}")

    def _check_context(self) -> None:
        """Refuse a context of what has none, and heads that do not share the features evenly."""
        if self.context_length is not None and self.model not in CONTEXTS:
            models = " or ".join(CONTEXTS)
            raise ConfigError(f"context_length is for --model {models}, this is {self.model}")
        if self.context_length is not None and self.context_length < 1:
            raise ConfigError(f"context_length must be at least 1, got {self.context_length}")
        if self.model != "transformer":
            return
        if self.num_heads < 1 or self.embedding_size % self.num_heads:
            raise ConfigError(
                f"num_heads must divide embedding_size, got {self.num_heads} heads for "
                f"{self.embedding_size} features"
            )
        if self.positions == "rotary" and self.embedding_size // self.num_heads % 2:
            raise ConfigError(
                "rotary positions turn pairs of features: embedding_size / num_heads must be even, "
                f"got {self.embedding_size} / {self.num_heads}"
            )
        if self.positions == "sinusoidal" and self.embedding_size % 2:
            raise ConfigError(
                "sinusoidal positions are pairs of features: embedding_size must be even, "
                f"got {self.embedding_size}"
            )

    @property
    def variant(self) -> str:
        """What makes it other than the plain model of its architecture; nothing if it is plain."""
        said = []
        for name, (_, plain) in _VARIANTS.items():
            value, words = getattr(self, name), name.replace("_", " ")
            if isinstance(value, bool) and value != plain:
                said.append(words if value else f"no {words}")
            elif value != plain:
                said.append(f"{words} {value}")
        return ", ".join(said)

    @property
    def context(self) -> int:
        """Characters that the mlp, and each layer of the transformer, sees; 0 of the others."""
        return self.context_length or CONTEXTS.get(self.model, 0)

    @property
    def longest_stream(self) -> int | None:
        """Characters after which there are no positions left; None: there is no end."""
        has_end = self.model == "transformer" and self.positions in ("learned", "sinusoidal")
        return self.context if has_end else None

    @property
    def output_size(self) -> int:
        """Features of the last layer's output, P."""
        if self.model == "transformer":
            return self.embedding_size
        return self.proj_size or self.hidden_size

    @property
    def gates(self) -> int:
        """Blocks of H rows in each recurrent layer's matrices."""
        is_short = self.coupled or not self.forget_gate
        return 3 if is_short else GATES[self.model]

    def num_parameters(self, vocab_size: int) -> int:
        """Return the number of trainable scalars: V D + the layers' + V P (if untied) + V."""
        v, d, p = vocab_size, self.embedding_size, self.output_size
        match self.model:
            case "mlp":
                layers = self._window_parameters()
            case "transformer":
                layers = self._transformer_parameters()
            case _:
                layers = self._recurrent_parameters()
        return v * d + layers + (0 if self.tie_weights else v * p) + v

    def _recurrent_parameters(self) -> int:
        """Σ over layers of G(D or P + P + 2) + the variant's own, where G = gates · H."""
        d, h, p = self.embedding_size, self.hidden_size, self.output_size
        packed = self.gates * h
        own = 3 * h * self.peephole + h * self.proj_size + (2 * packed + 2 * h) * self.layer_norm
        first = packed * (d + p + 2) + own
        return first + (self.num_layers - 1) * (packed * (2 * p + 2) + own)

    def _window_parameters(self) -> int:
        """H(n D + 1), and H(H + 1) of each further layer."""
        h = self.hidden_size
        first = h * (self.context * self.embedding_size + 1)
        return first + (self.num_layers - 1) * h * (h + 1)

    def _transformer_parameters(self) -> int:
        """L blocks: 4D(D + 1) attention, 2DH + H + D feed-forward, two norms; one norm; a table."""
        d, h = self.embedding_size, self.hidden_size
        block = 4 * d * (d + 1) + 2 * d * h + h + d + 4 * d
        table = self.context * d if self.positions == "learned" else 0
        return self.num_layers * block + 2 * d + table
