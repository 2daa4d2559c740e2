"""A recurrent character model as a stack of layers from ids to logits, for a kernel that writes."""

from torch import nn

from carousel.kernels.decoding import DecoderWeights
from carousel.models.base import LanguageModel
from carousel.models.language_model import CharacterModel
from carousel.models.recurrent import RecurrentBackbone
from carousel.nn.embedding import Embedding
from carousel.nn.layer import has_hooks
from carousel.nn.linear import Linear
from carousel.nn.parameters import collect
from carousel.nn.recurrent_layer import RecurrentLayer


def decoder_weights(model: LanguageModel) -> DecoderWeights | None:
    """Return the layers of a model in evaluation mode; None if it is of another kind.

    A model with a hook, which the kernel would not call, or with a layer of another kind in place
    of one of these, is written by its own forward.
    """
    if not isinstance(model, CharacterModel) or not isinstance(model.body, RecurrentBackbone):
        return None
    layer: nn.Module = model.body.recurrence
    if not isinstance(layer, RecurrentLayer) or not isinstance(model.embedding, Embedding):
        return None
    if not isinstance(model.output, Linear) or has_hooks(*model.modules()):
        return None
    if layer.backend not in ("auto", "fused"):
        return None
    if layer.regularization.zoneout > 0:  # a share of the old state stays
        return None
    layers = [collect(layer, names) for names in layer._all_weights]
    if any(own.gain is not None for own in layers):
        return None
    weight = model.embedding.weight if model.config.tie_weights else model.output.weight
    return DecoderWeights(
        family=layer.family.name,
        embedding=model.embedding.weight,
        w_ih=[own.w_ih for own in layers],
        b_ih=[own.b_ih for own in layers],
        weights=[own.weights for own in layers],
        w_out=weight,
        b_out=model.output.bias,
    )
