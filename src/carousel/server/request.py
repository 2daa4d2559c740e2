"""Turn the JSON body of a request into checked jobs, before any work begins.

The limits of sampling are those of `SamplingConfig`, some of them lower here; the description of
the API (`openapi.py`) is generated from the same tables. The fields are those of OpenAI's
completions, where a token is a character, and those of `no_ops.py`, which change nothing.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from carousel.data.typography import plainly
from carousel.generation.config import SamplingConfig
from carousel.limits import fields_of
from carousel.server.api_error import ApiError
from carousel.server.fields import (
    Field,
    Flag,
    Nested,
    Number,
    Text,
    Texts,
    Whole,
    read_fields,
    show,
)
from carousel.server.no_ops import MAX_NAME, with_no_ops
from carousel.server.types import EngineClient, Job, ModelInfo

MAX_BODY = 64 * 1024  # bytes: MAX_PROMPT characters in any JSON spelling, and room for the rest
MAX_PROMPT = 4000  # characters, of each
MAX_LENGTH = 4000  # characters to write, of each text
LENGTH = 16  # characters that are written where nobody says how many
MAX_TEXTS = 16  # of one request, prompts times n; each is drawn MAX_CANDIDATES times at most
MAX_TEMPERATURE = 2
MAX_TOP_K = 0x110000  # there are no more characters
MAX_CANDIDATES = 16  # of each sentence
MAX_ALTERNATIVES = 5
MAX_STOP = 4  # strings
MAX_STOP_LENGTH = 100  # characters of each
MAX_SEED = 2**53 - 1  # every program's JSON holds it exactly
MIN_SCORED = 2  # characters: the first has nothing before it

OFF = SamplingConfig(temperature=1)  # the default of each field


def _setting(name: str, at_most: float = math.inf) -> Number | Whole:
    """Return the field for a setting of SamplingConfig, within its limits and a lower maximum."""
    kind, limits = fields_of(SamplingConfig)[name]
    default, is_open = getattr(OFF, name), math.isfinite(limits.above)
    low = limits.above if is_open else limits.at_least
    high = min(at_most, limits.at_most)
    if kind is float:
        return Number(default, low, high, is_open=is_open)
    return Whole(default, int(low), int(high))


_MODEL = Text(None, 0, MAX_NAME)
_SUPPORTED: Mapping[str, Field] = {
    "model": _MODEL,
    "prompt": Texts(("",), Text("", 0, MAX_PROMPT), 1, MAX_TEXTS, " (token ids are not read)"),
    "max_tokens": Whole(LENGTH, 0, MAX_LENGTH),
    "temperature": _setting("temperature", MAX_TEMPERATURE),
    "top_p": _setting("top_p"),
    "top_k": _setting("top_k", MAX_TOP_K),
    "min_p": _setting("min_p"),
    "repetition_penalty": _setting("repetition_penalty"),
    "repetition_window": _setting("repetition_window"),
    "candidates": _setting("candidates", MAX_CANDIDATES),
    "seed": Whole(None, 0, MAX_SEED),
    "n": Whole(1, 1, MAX_TEXTS),
    "stop": Texts((), Text("", 1, MAX_STOP_LENGTH), 0, MAX_STOP),
    "logprobs": Whole(None, 0, MAX_ALTERNATIVES),
    "echo": Flag(),
    "stream": Flag(),
    "stream_options": Nested(
        "stream_options", with_no_ops({"include_usage": Flag()}, "stream_options.")
    ),
    "best_of": Whole(None, 1, MAX_TEXTS),
}
COMPLETION = with_no_ops(_SUPPORTED)
SCORE: Mapping[str, Field] = {
    "model": _MODEL,
    "text": Text(None, MIN_SCORED, MAX_PROMPT),
    "alternatives": Whole(0, 0, MAX_ALTERNATIVES),
}


class Model(NamedTuple):
    """A model that can be asked for.

    Attributes:
        card: What is known of it.
        known: Its characters.
        engine: Generates its texts.
    """

    info: ModelInfo
    known: frozenset[str]
    engine: EngineClient

    @property
    def longest_prompt(self) -> int:
        """Characters of a prompt at most."""
        return min(MAX_PROMPT, self.info.max_length or MAX_PROMPT)


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Texts to write.

    Attributes:
        model: Who is asked.
        jobs: The texts, n for each prompt, in the order of the prompts.
        n: Texts of each prompt.
        seed: Of them all.
        is_echoed: Each text begins with its prompt.
        is_streamed: The texts are sent as they are written.
        has_usage: Of a stream: the counts of characters follow at its end.
    """

    model: Model
    jobs: tuple[Job, ...]
    n: int
    seed: int
    is_echoed: bool
    is_streamed: bool
    has_usage: bool


@dataclass(frozen=True, kw_only=True)
class Score:
    """A text to read: who is asked, and the job."""

    model: Model
    job: Job


def read_completion(body: Any, models: Mapping[str, Model]) -> Completion:
    """Check a JSON value against the limits above and against the model.

    A text ends early, for its length, where the model has no more positions.

    Raises:
        ApiError: If it is no request for texts; the message names the field and its value.
    """
    params = read_fields(body, COMPLETION)
    model = _model(params["model"], models)
    prompts, n = params["prompt"], params["n"]
    if params["best_of"] not in (None, n):
        raise ApiError(f"best_of must be null or n, got {params['best_of']}", param="best_of")
    if len(prompts) * n > MAX_TEXTS:
        message = f"a request is for at most {MAX_TEXTS} texts, got {len(prompts)} prompts, n {n}"
        raise ApiError(f"{message}: {len(prompts) * n} texts", param="n")
    for place, prompt in enumerate(prompts):
        _check_text("prompt", prompt, model, f"[{place}]" if len(prompts) > 1 else "")
    settings = _sampling(params)
    jobs = tuple(
        _job(params, prompt, settings, sample, model.info)
        for prompt in prompts
        for sample in range(n)
    )
    return Completion(
        model=model,
        jobs=jobs,
        n=n,
        seed=settings.seed,
        is_echoed=params["echo"],
        is_streamed=params["stream"],
        has_usage=(params["stream_options"] or {}).get("include_usage", False),
    )


def read_score(body: Any, models: Mapping[str, Model]) -> Score:
    """Check a JSON value against the limits above and against the model.

    Raises:
        ApiError: If it is no text to score; the message names the field and its value.
    """
    params = read_fields(body, SCORE)
    model = _model(params["model"], models)
    text = params["text"]
    if text is None:
        raise ApiError(f"text must be {SCORE['text'].expected}, got null", param="text")
    _check_text("text", text, model)
    job = Job(prompt=text, length=0, logprobs=params["alternatives"], prompt_logprobs=True)
    return Score(model=model, job=job)


def _model(name: str | None, models: Mapping[str, Model]) -> Model:
    if name is None:
        return next(iter(models.values()))
    return find_model(name, models)


def find_model(name: str, models: Mapping[str, Model]) -> Model:
    """Return the model of a name.

    Raises:
        ApiError: If there is none.
    """
    if name not in models:
        message = f"no model is called {show(name)}; there are {', '.join(models)}"
        raise ApiError(message, status=404, code="model_not_found", param="model")
    return models[name]


def _check_text(field: str, text: str, model: Model, item: str = "") -> None:
    """Refuse a text with more characters than the model has positions, or unknown ones."""
    if len(text) > model.longest_prompt:
        message = f"{field}{item}: this model reads at most {model.longest_prompt} characters"
        raise ApiError(f"{message}, got {len(text)}", param=field)
    for position, character in enumerate(text):
        if character not in model.known:
            which = f"{character!r} (U+{ord(character):04X}) at position {position}"
            message = (
                f"{field}{item}: {which} is not among the model's {len(model.known)} characters"
            )
            raise ApiError(message + plainly(character, model.known), param=field)


def _sampling(params: Mapping[str, Any]) -> SamplingConfig:
    seed = secrets.randbelow(MAX_SEED + 1) if params["seed"] is None else params["seed"]
    return SamplingConfig(
        temperature=params["temperature"],
        top_k=params["top_k"],
        top_p=params["top_p"],
        min_p=params["min_p"],
        repetition_penalty=params["repetition_penalty"],
        repetition_window=params["repetition_window"],
        candidates=params["candidates"],
        seed=seed,
    )


def _job(
    params: Mapping[str, Any], prompt: str, sampling: SamplingConfig, sample: int, info: ModelInfo
) -> Job:
    length = params["max_tokens"]
    if info.max_length is not None:
        # An empty prompt is one position, and the last character that is written needs none.
        length = min(length, info.max_length - max(1, len(prompt)) + 1)
    return Job(
        prompt=prompt,
        length=length,
        stop=params["stop"],
        sampling=sampling,
        sample=sample,
        logprobs=params["logprobs"],
        prompt_logprobs=params["echo"] and params["logprobs"] is not None,
    )
