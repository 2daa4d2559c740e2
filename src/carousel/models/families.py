"""From a config to the body that it describes."""

from carousel.models.backbone import Backbone
from carousel.models.config import ModelConfig
from carousel.models.mlp import MlpBackbone
from carousel.models.recurrent import RecurrentBackbone
from carousel.models.transformer import TransformerBackbone


def build_body(config: ModelConfig, input_size: int | None = None) -> Backbone:
    """Return a fresh body, its parameters drawn as torch's own layers draw them.

    Args:
        config: Its family and sizes.
        input_size: Features of an input, F; None: the inputs are ids.
    """
    match config.model:
        case "mlp":
            return MlpBackbone(config, input_size)
        case "transformer":
            return TransformerBackbone(config)
        case _:
            return RecurrentBackbone(config)
