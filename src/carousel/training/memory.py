"""How much memory training certainly takes: asked before anything is built."""

from carousel.errors import ConfigError
from carousel.models.config import ModelConfig
from carousel.models.size import num_parameters
from carousel.training.config import RunConfig

_COPIES = 3  # of each weight in float32: itself, its gradient, and what the optimiser keeps


def check_memory(config: RunConfig, vocab_size: int, memory: int | None) -> None:
    """Refuse sizes that cannot fit, by a bound from below: what is refused would never have run.

    Args:
        config: Settings of the run.
        vocab_size: Characters that the model knows.
        memory: Bytes there are; None where nobody knows.

    Raises:
        ConfigError: If weights, or what a step keeps for its backward pass, need more; the message
            has the estimate and which sizes it comes from.
    """
    model, training = config.model, config.training
    weights = least_for_weights(model, vocab_size)
    check_weights(model, vocab_size, memory)
    # The output of each layer, in bfloat16 at the least, and the ids.
    per_position = 2 * model.num_layers * min(model.hidden_size, model.output_size) + 8
    kept = training.batch_size * training.sequence_length * per_position
    if memory is not None and weights + kept > memory:
        raise ConfigError(
            f"batch_size {training.batch_size:,} and sequence_length {training.sequence_length:,} "
            f"need at least {in_gigabytes(weights + kept)} of memory, and there are "
            f"{in_gigabytes(memory)}: smaller ones would work"
        )


def check_weights(model: ModelConfig, vocab_size: int, memory: int | None) -> None:
    """Refuse a model whose weights alone cannot be trained in this memory; see check_memory."""
    weights = least_for_weights(model, vocab_size)
    if memory is not None and weights > memory:
        raise ConfigError(
            f"a model of {num_parameters(model, vocab_size):,} parameters needs at least "
            f"{in_gigabytes(weights)} of memory to train, and there are {in_gigabytes(memory)}: a "
            "smaller hidden_size, embedding_size or num_layers would work"
        )


def least_for_weights(model: ModelConfig, vocab_size: int) -> int:
    """Return a lower bound of the bytes that weights, gradients and the optimiser's state take."""
    return 4 * _COPIES * num_parameters(model, vocab_size)


def in_gigabytes(size: int) -> str:
    """Return bytes in GB, of 10⁹."""
    return f"{size / 1e9:,.1f} GB" if size < 1e15 else f"{size / 1e9:.1e} GB"
