"""POST /v1/score: how likely a given text is, character by character."""

import math
from collections.abc import Callable
from contextlib import closing
from typing import Any

from flask import Response

from carousel.errors import CarouselError
from carousel.server.active_request import ActiveRequest
from carousel.server.choice import LEAST_LOG_P, log_p, whole
from carousel.server.request import Score
from carousel.server.strict_json import answer
from carousel.server.types import CharacterLogprob


def score(params: Score, begin: Callable[[], ActiveRequest]) -> Response:
    """Answer with each character's chances, and the mean of them.

    Raises:
        CarouselError: If the text cannot be read.
    """
    with closing(begin()) as active:
        try:
            logprobs = whole(chunk for _, chunk in active.chunks()).logprobs
        except CarouselError as error:
            raise active.end(error) from error
    text = params.job.prompt
    mean = math.fsum(map(log_p, logprobs)) / len(logprobs)
    return answer(
        {
            "object": "score",
            "model": params.model.info.name,
            "characters": [
                _character(character, logprob)
                for character, logprob in zip(text, [None, *logprobs], strict=True)
            ],
            "nats_per_character": 0 - mean,
            "bits_per_character": _bits(mean),
        }
    )


def _character(character: str, logprob: CharacterLogprob | None) -> dict[str, Any]:
    """Return what is known of one character; of the first, before which nothing stands, nothing."""
    if logprob is None:
        return {"character": character, "log_p": None, "bits": None, "alternatives": None}
    return {
        "character": character,
        "log_p": log_p(logprob),
        "bits": _bits(log_p(logprob)),
        "alternatives": [
            {"character": other, "log_p": max(p, LEAST_LOG_P)} for other, p in logprob.top
        ],
    }


def _bits(log_p: float) -> float:
    """Return the surprise of a log-probability in nats."""
    return (0 - log_p) / math.log(2)  # 0 - 0.0 is 0, where -0.0 would be sent with its sign
