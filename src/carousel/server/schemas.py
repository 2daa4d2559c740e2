"""The API's responses as JSON Schema (draft 2020-12)."""

from typing import Any

from carousel.server.request import MAX_ALTERNATIVES, MAX_SEED

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
LOG_P: Schema = {"type": "number", "description": "Nats; -9999 stands for an impossible one."}
CHARACTER: Schema = {"type": "string", "minLength": 1, "maxLength": 1}
NULL: Schema = {"type": "null"}


def _object(**properties: Schema) -> Schema:
    """Return an object that has exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, NULL]}


ERROR = _object(
    error=_object(message=STRING, type=STRING, param=_nullable(STRING), code=STRING),
)

LOGPROBS = _object(
    tokens=_list(CHARACTER),
    token_logprobs=_list(_nullable(LOG_P)),
    top_logprobs=_list(
        _nullable(
            {
                "type": "object",
                "additionalProperties": LOG_P,
                "maxProperties": MAX_ALTERNATIVES + 1,
                "description": "The likeliest characters, and the one that stands there.",
            }
        )
    ),
    text_offset=_list({**COUNT, "description": "The character's place in the choice's text."}),
)
CHOICE = _object(
    text=STRING,
    index=COUNT,
    logprobs=_nullable(LOGPROBS),
    finish_reason={"enum": ["stop", "length"]},
)
USAGE = _object(prompt_tokens=COUNT, completion_tokens=COUNT, total_tokens=COUNT)
HEAD = {
    "id": STRING,
    "object": {"const": "text_completion"},
    "created": COUNT,
    "model": STRING,
    "seed": {**COUNT, "maximum": MAX_SEED, "description": "Gives the same texts again."},
}
COMPLETION = _object(**HEAD, choices=_list(CHOICE, minItems=1), usage=USAGE)

# A stream: what each choice goes on with, at last the reason why it ends; in the end, where asked
# for, the counts, and [DONE].
ADDED = _object(
    **{key: schema for key, schema in CHOICE["properties"].items() if key != "finish_reason"},
    finish_reason={"enum": ["stop", "length", None]},
)
PART = _object(**HEAD, choices=_list(ADDED, maxItems=1), usage=_nullable(USAGE))
PART["required"].remove("usage")
EVENT = _object(
    data={
        "anyOf": [
            {"const": "[DONE]"},
            {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"anyOf": [PART, ERROR]},
            },
        ]
    }
)
EVENT["additionalProperties"] = True  # an event's name, where a program reads one

ALTERNATIVES = _list(_object(character=CHARACTER, log_p=LOG_P), maxItems=MAX_ALTERNATIVES)
SCORED = _object(
    object={"const": "score"},
    model=STRING,
    characters=_list(
        _object(
            character=CHARACTER,
            log_p=_nullable(LOG_P),
            bits={**_nullable({"type": "number"}), "description": "Surprise."},
            alternatives=_nullable(ALTERNATIVES),
        )
    ),
    nats_per_character={"type": "number", "description": "The mean, the first left out."},
    bits_per_character={"type": "number", "description": "The mean, the first left out."},
)

MODEL = _object(
    id=STRING,
    object={"const": "model"},
    created=COUNT,
    owned_by=STRING,
    vocab_size=COUNT,
    longest_stream={**_nullable(COUNT), "description": "Characters, prompt and text together."},
)
MODELS = _object(object={"const": "list"}, data=_list(MODEL))
STATE = _object(status=STRING)
