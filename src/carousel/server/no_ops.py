"""Parameters of OpenAI's API and of its other servers, at the values that ask for nothing.

Clients send many settings that they never changed. `NO_OPS` is the one list of these parameters and
of their no-op values; the parser, the API's description and the tests read it. null is a no-op in
every field and is not listed. A value that would change the text or the answer is not listed
either: it is refused. `best_of` is a no-op where it equals `n` (`request.py`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carousel.server.fields import Field, NoOp, Schema, Text

MAX_NAME = 500  # characters, of the model, and of what identifies a user, a request or a cache


@dataclass(frozen=True)
class Constants:
    """One of a few values; none of them: null alone. A number is never true or false."""

    values: tuple[Any, ...]
    default: None = None

    @property
    def words(self) -> str:
        """These values as JSON, for a sentence."""
        *others, last = map(json.dumps, self.values)
        return f"{', '.join(others)} or {last}" if others else last

    @property
    def expected(self) -> str:
        """Return the accepted values in words."""
        *others, last = map(json.dumps, [None, *self.values])
        return f"{', '.join(others)} or {last}" if others else last

    def read(self, value: Any) -> None:
        """Return nothing, if it is one of them."""
        for constant in self.values:
            if value == constant and isinstance(value, bool) == isinstance(constant, bool):
                return
        raise ValueError

    def schema(self) -> Schema:
        """Return the list."""
        return {"enum": [*self.values] or [None]}


@dataclass(frozen=True)
class Anything:
    """Any value: the parameter belongs to a setting that is off."""

    default: None = None
    expected: str = "any value"

    def read(self, value: Any) -> None:
        """Return nothing."""

    def schema(self) -> Schema:
        """Return no constraint."""
        return {}


@dataclass(frozen=True)
class ZeroBiases:
    """An object whose values are all 0: a bias of 0 changes nothing."""

    default: None = None
    expected: str = "null, {} or an object of zeros"

    def read(self, value: Any) -> None:
        """Return nothing, if all are 0."""
        if not isinstance(value, dict):
            raise ValueError
        if any(type(bias) not in (int, float) or bias != 0 for bias in value.values()):
            raise ValueError

    def schema(self) -> Schema:
        """Return an object of zeros."""
        return {"type": "object", "additionalProperties": {"const": 0}}


@dataclass(frozen=True)
class OrNoOp:
    """A field that this server has, and the no-op values that it may hold besides.

    Attributes:
        field: The field.
        no_op: The values, of any type.
        stands_for: What they are read as.
    """

    field: Field
    no_op: Constants
    stands_for: Any

    @property
    def default(self) -> Any:
        """The value if the field is missing or null."""
        return self.field.default

    @property
    def expected(self) -> str:
        """Return the accepted values in words."""
        return f"{self.field.expected}, or {self.no_op.words}"

    def read(self, value: Any) -> Any:
        """Return the value, or what it stands for."""
        try:
            self.no_op.read(value)
        except ValueError:
            return self.field.read(value)
        return self.stands_for

    def schema(self) -> Schema:
        """Return both."""
        meaning = f"{self.no_op.words}: the same as {json.dumps(self.stands_for)}."
        return {"anyOf": [self.field.schema(), self.no_op.schema()], "description": meaning}


def _at(*values: Any, use: str | None = None) -> NoOp:
    return NoOp(Constants(values), use)


_LABEL = NoOp(Text(None, 0, MAX_NAME))  # tells users, requests or caches apart; alters no text
_FLAG = _at(True, False)  # about what these models lack: special tokens, tools, a prompt cache
_UNUSED = NoOp(Anything())  # of a sampler that is off, since the parameter that turns it on is

# "a.b" is field b of the object a.
NO_OPS: Mapping[str, NoOp] = {
    # OpenAI, POST /v1/completions
    "frequency_penalty": _at(0),
    "presence_penalty": _at(0),
    "logit_bias": NoOp(ZeroBiases()),
    "suffix": _at(""),
    # 0, as in vLLM and other servers that read JSON's false as a number: the text is the same.
    "logprobs": NoOp(Constants((False,)), stands_for=0),
    "stream_options.include_obfuscation": _at(False),
    "user": _LABEL,
    # OpenAI, other endpoints
    "audio": _at(),
    "function_call": _at("none", "auto"),
    "functions": _at([]),
    "input": _at(use="prompt"),
    "max_completion_tokens": _at(use="max_tokens"),
    "max_output_tokens": _at(use="max_tokens"),
    "messages": _at(use="prompt"),
    "metadata": _at({}),
    "modalities": _at(["text"]),
    "parallel_tool_calls": _FLAG,
    "prompt_cache_key": _LABEL,
    "prompt_cache_retention": _at("in_memory", "in-memory"),
    "reasoning_effort": _at("none"),
    "response_format": _at({"type": "text"}),
    "safety_identifier": _LABEL,
    "service_tier": _at("auto", "default"),
    "store": _at(False),
    "tool_choice": _at("none", "auto"),
    "tools": _at([]),
    "top_logprobs": _at(0, use="logprobs"),
    "verbosity": _at("medium"),
    # vLLM
    "add_special_tokens": _FLAG,
    "bad_words": _at([]),
    "cache_salt": _LABEL,
    "early_stopping": _at(False),
    "ignore_eos": _FLAG,
    "include_stop_str_in_output": _at(False),
    "length_penalty": _at(1),
    "logits_processors": _at([]),
    "min_tokens": _at(0),
    "priority": _at(0),
    "prompt_logprobs": _at(use="echo and logprobs"),
    "request_id": _LABEL,
    "return_token_ids": _at(False),
    "return_tokens_as_token_ids": _at(False),
    "session_id": _LABEL,
    "skip_special_tokens": _FLAG,
    "spaces_between_special_tokens": _FLAG,
    "stop_token_ids": _at([], use="stop"),
    "stream_options.continuous_usage_stats": _at(False),
    "top_k": _at(0, -1),  # all characters, as null
    "use_beam_search": _at(False),
    "vllm_xargs": _at({}),
    # llama.cpp
    "cache_prompt": _FLAG,
    "dry_allowed_length": _UNUSED,
    "dry_base": _UNUSED,
    "dry_multiplier": _at(0),
    "dry_penalty_last_n": _UNUSED,
    "dry_sequence_breakers": _UNUSED,
    "dynatemp_exponent": _UNUSED,
    "dynatemp_range": _at(0),
    "grammar": _at(""),
    "id_slot": _at(-1),
    "lora": _at([]),
    "mirostat": _at(0),
    "mirostat_eta": _UNUSED,
    "mirostat_tau": _UNUSED,
    "n_indent": _at(0),
    "n_keep": _at(0),
    "n_predict": _at(use="max_tokens"),
    "n_probs": _at(0, use="logprobs"),
    "post_sampling_probs": _at(False),
    "repeat_last_n": _at(use="repetition_window"),
    "repeat_penalty": _at(1, use="repetition_penalty"),
    "return_tokens": _at(False),
    "timings_per_token": _at(False),
    "top_n_sigma": _at(-1),
    "typical_p": _at(1),
    "xtc_probability": _at(0),
    "xtc_threshold": _UNUSED,
    # text-generation-webui, KoboldCpp and their clients
    "add_bos_token": _FLAG,
    "ban_eos_token": _FLAG,
    "do_sample": _at(True),
    "dynamic_temperature": _at(False),
    "encoder_repetition_penalty": _at(1),
    "epsilon_cutoff": _at(0),
    "eta_cutoff": _at(0),
    "guidance_scale": _at(1),
    "max_new_tokens": _at(use="max_tokens"),
    "mirostat_mode": _at(0),
    "no_repeat_ngram_size": _at(0),
    "num_beams": _at(1),
    "penalty_alpha": _at(0),
    "rep_pen": _at(1, use="repetition_penalty"),
    "rep_pen_range": _at(use="repetition_window"),
    "smoothing_factor": _at(0),
    "stopping_strings": _at([], use="stop"),
    "tfs": _at(1),
    "top_a": _at(0),
    "typical": _at(1),
}


def with_no_ops(fields: Mapping[str, Field], inside: str = "") -> dict[str, Field]:
    """Return the fields and, of the object whose prefix is `inside`, the no-ops."""
    no_ops = {
        name.removeprefix(inside): no_op
        for name, no_op in NO_OPS.items()
        if name.startswith(inside) and "." not in name.removeprefix(inside)
    }
    known = {name: _merge(field, no_ops.pop(name, None)) for name, field in fields.items()}
    return known | no_ops


def _merge(field: Field, no_op: NoOp | None) -> Field:
    if no_op is None:
        return field
    assert isinstance(no_op.values, Constants)
    return OrNoOp(field, no_op.values, no_op.stands_for)
