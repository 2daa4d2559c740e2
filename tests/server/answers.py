"""How the tests read what the app answers."""

import json
from typing import Any

from werkzeug.test import TestResponse

KINDS = {401: "authentication_error", 429: "rate_limit_error", 504: "timeout"}


def refused(response: TestResponse, status: int = 400) -> dict[str, Any]:
    """Return an error that has the one form of all errors, and is one line."""
    assert response.status_code == status, response.text
    response.close()  # as a server does
    assert response.mimetype == "application/json"
    assert response.headers["X-Request-Id"].startswith("req-")
    assert response.json is not None
    assert list(response.json) == ["error"]
    return well_formed(response.json["error"], status)


def well_formed(error: dict[str, Any], status: int) -> dict[str, Any]:
    """Return an error after a look at its four fields."""
    assert list(error) == ["message", "type", "param", "code"]
    usual = "server_error" if status >= 500 else "invalid_request_error"
    assert error["type"] == KINDS.get(status, usual)
    assert error["code"].isidentifier()
    message = error["message"]
    assert message.isprintable()
    assert 0 < len(message) < 500
    assert "Traceback" not in message
    return error


def events(response: TestResponse) -> list[dict[str, Any]]:
    """Return the events of a stream, [DONE] aside, and close it, as a server does."""
    assert response.status_code == 200, response.text
    assert response.mimetype == "text/event-stream"
    blocks = response.text.split("\n\n")
    response.close()
    assert blocks[0] == ":"
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks[1:-1])
    return [json.loads(block.removeprefix("data: ")) for block in blocks[1:-2]]


def told(parts: list[dict[str, Any]], index: int = 0) -> str:
    """Return the text of one choice of a stream."""
    choices = [choice for part in parts for choice in part["choices"]]
    return "".join(choice["text"] for choice in choices if choice["index"] == index)
