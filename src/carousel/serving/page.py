"""The page: a form for one text, in the browser."""

from collections.abc import Mapping
from typing import Any

from flask import render_template

from carousel.sampling.config import TELLING
from carousel.serving.request import MAX_CANDIDATES, MAX_LENGTH, MAX_SEED, Model

# What stands in the form at first, as far as the model has characters and positions for it.
OPENING = "Once upon a time"
LENGTH = 600  # characters


def page(models: Mapping[str, Model], *, has_token: bool) -> str:
    """Return the page's HTML."""
    return render_template(
        "page.html",
        models=[_form(model) for model in models.values()],
        has_token=has_token,
        defaults=TELLING,
        max_seed=MAX_SEED,
        max_candidates=MAX_CANDIDATES,
    )


def _form(model: Model) -> dict[str, Any]:
    """Return what the form shows for a model; without a length it asks for the most."""
    longest = model.card.longest_stream
    is_short = longest is not None and longest < len(OPENING) + LENGTH
    is_known = set(OPENING) <= model.known
    return {
        "name": model.card.name,
        "opening": OPENING if is_known and not is_short else "",
        "vocab_size": len(model.known),
        "max_prompt": model.longest_prompt,
        "max_length": MAX_LENGTH if longest is None else min(MAX_LENGTH, longest),
        "length": LENGTH if longest is None else "",
    }
