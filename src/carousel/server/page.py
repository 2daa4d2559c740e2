"""The page: a form for one text, in the browser."""

from collections.abc import Mapping
from typing import Any

from flask import render_template

from carousel.data.typography import plain_forms
from carousel.generation.config import DEFAULT_SAMPLING
from carousel.server.request import MAX_CANDIDATES, MAX_LENGTH, MAX_SEED, Model

LENGTH = 600  # characters that are asked for at first, where the model has positions for them


def page(models: Mapping[str, Model], *, has_token: bool) -> str:
    """Return the page's HTML."""
    return render_template(
        "page.html",
        models=[_form(model) for model in models.values()],
        has_token=has_token,
        defaults=DEFAULT_SAMPLING,
        max_seed=MAX_SEED,
        max_candidates=MAX_CANDIDATES,
    )


def _form(model: Model) -> dict[str, Any]:
    """Return what the form shows for a model; without a length it asks for the most."""
    longest = model.info.max_length
    opening = model.info.opening
    is_short = longest is not None and longest < len(opening) + LENGTH
    return {
        "name": model.info.name,
        "opening": "" if is_short else opening,
        "plain": plain_forms(model.known),
        "vocab_size": len(model.known),
        "max_prompt": model.longest_prompt,
        "max_length": MAX_LENGTH if longest is None else min(MAX_LENGTH, longest),
        "length": LENGTH if longest is None else "",
    }
