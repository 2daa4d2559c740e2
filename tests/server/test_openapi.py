"""The API's description is true: schemathesis finds nothing that it does not say."""

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.engine import Status, from_schema

from budgets import SOAK, load, soak
from carousel.server.app import create_app
from carousel.server.request import COMPLETION, SCORE
from server.fake_engine import CHARACTERS, FakeEngine, model_info

EXAMPLES = load(40, 700)  # of each address and kind of data

APPS = {
    "one": create_app([FakeEngine()]),
    # A model that knows what means something in a pattern, and no line feed; and a short one.
    "two": create_app(
        [
            FakeEngine(model_info("first", r"ab^c-]\[$.*")),
            FakeEngine(model_info("second", CHARACTERS, max_length=30)),
        ]
    ),
}
POSTED = ("/v1/completions", "/v1/score")
FIXED = (
    "/v1/models",
    "/health/live",
    "/health/ready",
    "/metrics",
)  # /openapi.json is left out by itself
MODEL = "/v1/models/{model}"
VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
CASES = [(path, VALID) for path in (*POSTED, MODEL, *FIXED)]
CASES += [(path, INVALID) for path in (*POSTED, MODEL)]


def operations(app: Flask) -> dict[str, object]:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    # Its own list of what may be said to wrong data lacks the answer to a body that is too long.
    schema.config.checks.negative_data_rejection.expected_statuses = ["400", "404", "413"]
    return {found.ok().path: found.ok() for found in schema.get_all_operations()}


OPERATIONS = {name: operations(app) for name, app in APPS.items()}


@pytest.mark.parametrize(
    ("path", "mode"), CASES, ids=[f"{mode.value}-{path}" for path, mode in CASES]
)
@pytest.mark.parametrize("app", APPS)
@soak
def test_schemathesis_finds_nothing(app: str, path: str, mode: GenerationMode) -> None:
    strategy = OPERATIONS[app][path].as_strategy(generation_mode=mode)
    statuses = set()

    @given(case=strategy)
    @settings(
        max_examples=EXAMPLES,
        derandomize=not SOAK,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case) -> None:
        response = case.call()
        statuses.add(response.status_code)
        case.validate_response(response)

    check()
    assert statuses <= ({200} if mode is VALID else {400, 404, 413})


def test_schemathesis_finds_nothing_at_the_limits_and_by_other_methods() -> None:
    """Its phase of coverage: each limit and a step beyond, methods that are not there."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", APPS["one"])
    phases = schema.config.phases
    for others in (phases.examples, phases.fuzzing, phases.stateful):
        others.enabled = False
    found = [event for event in from_schema(schema).execute() if hasattr(event, "recorder")]
    assert {event.status for event in found} == {Status.SUCCESS}
    assert sum(len(event.recorder.cases) for event in found) > 100


def test_the_description_has_every_address_and_field() -> None:
    app = APPS["one"]
    rules = {rule.rule.replace("<", "{").replace(">", "}") for rule in app.url_map.iter_rules()}
    paths = app.test_client().get("/openapi.json").json["paths"]
    assert {*paths} == rules - {"/", "/static/{path:filename}"}

    def fields(path: str) -> set[str]:
        content = paths[path]["post"]["requestBody"]["content"]
        return {*content["application/json"]["schema"]["properties"]}

    assert fields("/v1/completions") == {*COMPLETION}
    assert fields("/v1/score") == {*SCORE}


def test_it_says_where_a_token_is_needed() -> None:
    app = create_app([FakeEngine()], token="secret")
    headers = {"Authorization": "Bearer secret"}
    document = app.test_client().get("/openapi.json", headers=headers).json
    assert document["security"] == [{"token": []}]
    is_open = {
        path
        for path, item in document["paths"].items()
        if item.get("get", {}).get("security") == []
    }
    assert is_open == {"/health/live", "/health/ready"}
    assert "security" not in APPS["one"].test_client().get("/openapi.json").json
