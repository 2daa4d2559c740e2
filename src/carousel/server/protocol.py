"""What the front and a worker say to each other: JSON, one message a line, no pickle.

To the worker:
    {"join": [[key, job], …]}    write these texts
    {"leave": key}               forget that one
    {"pause": [key, …], "resume": [key, …]}    leave the first as they are; go on with the others
    {"probe": number}            do a step of the model whose outcome is known
From the worker, first:
    {"card": [name, characters, longest_stream, opening, created, fingerprint]}
    {"ready": true}              or, instead of either, {"error": why}, and it ends
and then:
    {"news": [[key, text, chances, finish, error, drawn], …]}    of all texts, one line per advance;
        drawn counts the characters since the last news, of all candidates; LEFT for finish is the
        answer to "leave"
    {"probe": number, "error": null or what is wrong}
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, BinaryIO

from carousel.generation.config import SamplingConfig
from carousel.server.types import Card, Chance, Job, Piece

Message = dict[str, Any]
LEFT = "left"


def send(file: BinaryIO, message: Message) -> None:
    """Write one message and flush it; OSError if nobody reads any more."""
    line = memoryview(json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n")
    while line:  # a file without a buffer may take a part
        line = line[file.write(line) :]
    file.flush()


def receive(file: BinaryIO) -> Iterator[Message]:
    """Yield messages until the other side is gone.

    Raises:
        ValueError: If a line is no message.
    """
    while True:
        try:
            line = file.readline()
        except (OSError, ValueError):  # the connection is broken, or closed by us
            return
        if not line.endswith(b"\n"):  # the last line of one who was killed is half a line
            return
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"no message: {line[:100]!r}")
        yield message


def job_to_json(job: Job) -> Message:
    """Return a job as JSON."""
    return asdict(job)


def job_from_json(fields: Message) -> Job:
    """Return the job that `job_to_json` was given."""
    return Job(**fields | {"sampling": SamplingConfig(**fields["sampling"])})


def card_from_json(fields: list[Any]) -> Card:
    """Return the card that was sent as a list."""
    name, characters, *rest = fields
    return Card(name, tuple(characters), *rest)


def piece_from_json(text: str, chances: list[Any], finish: Any, drawn: int) -> Piece:
    """Return the piece that was sent as a list."""
    return Piece(
        text,
        [Chance(log_p, [(c, p) for c, p in alternatives]) for log_p, alternatives in chances],
        finish,
        drawn,
    )
