"""The list of models, and their readiness."""

from collections.abc import Mapping
from typing import Any

from carousel.server.api_error import ApiError
from carousel.server.request import Model


def list_models(models: Mapping[str, Model]) -> dict[str, Any]:
    """Return what is known of all models."""
    return {"object": "list", "data": [one_model(model) for model in models.values()]}


def one_model(model: Model) -> dict[str, Any]:
    """Return what is known of a model."""
    return {
        "id": model.info.name,
        "object": "model",
        "created": model.info.created,
        "owned_by": "carousel",
        "vocab_size": len(model.known),
        "longest_stream": model.info.max_length,
    }


def readiness(models: Mapping[str, Model]) -> dict[str, str]:
    """Return that all models can write.

    Raises:
        ApiError: If one cannot, with the reason.
    """
    found = {name: model.engine.unavailable_reason() for name, model in models.items()}
    if obstacles := [f"{name}: {why}" for name, why in found.items() if why is not None]:
        headers = {"Retry-After": "1"}
        message = "; ".join(obstacles)
        raise ApiError(message, status=503, code="unavailable", headers=headers)
    return {"status": "ready"}
