"""From a config to the body that it describes."""

from carousel.models.backbone import Body
from carousel.models.config import ModelConfig
from carousel.models.mlp import WindowBody
from carousel.models.recurrent import RecurrentBody
from carousel.models.transformer import TransformerBody


def build_body(config: ModelConfig, input_size: int | None = None) -> Body:
    """Return a fresh body, its parameters drawn as torch's own layers draw them.

    Args:
        config: Its family and sizes.
        input_size: Features of an input, F; None: the inputs are ids.
    """
    match config.model:
        case "mlp":
            return WindowBody(config, input_size)
        case "transformer":
            return TransformerBody(config)
        case _:
            return RecurrentBody(config)
