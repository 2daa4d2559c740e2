"""A hash of the model that a worker has in memory; its files may change."""

import hashlib
import json
from collections.abc import Mapping

from carousel.models.base import LanguageModel


def fingerprint_of(model: LanguageModel, config: Mapping[str, object]) -> str:
    """Return the SHA-256 of a model's settings and of all its weights, in hexadecimal.

    Args:
        model: On the CPU or elsewhere.
        config: The settings that it was built from.
    """
    found = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"\n{name} {tensor.dtype} {[*tensor.shape]} ".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().data)
    return found.hexdigest()
