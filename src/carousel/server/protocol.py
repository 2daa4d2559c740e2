"""Messages between the web app and a worker: JSON, one message a line, no pickle.

To the worker:
    {"add": [[key, job], …]}     generate these texts
    {"abort": key}               drop that one
    {"pause": [key, …], "resume": [key, …]}    skip the first; continue the others
    {"probe": number}            run a step of the model whose result is known
From the worker, first:
    {"model": [name, characters, max_length, opening, created, fingerprint]}
    {"ready": true}              or, instead of either, {"error": why}, and it ends
and then:
    {"outputs": [[key, text, logprobs, finish, error, num_drawn], …]}    of all texts, one line per
        engine step; num_drawn counts the characters since the last line, of all candidates;
        ABORTED for finish is the answer to "abort"
    {"probe": number, "error": null or what is wrong}
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, BinaryIO

from carousel.generation.config import SamplingConfig
from carousel.server.types import CharacterLogprob, Chunk, Job, ModelInfo

Message = dict[str, Any]
ABORTED = "aborted"


def send(file: BinaryIO, message: Message) -> None:
    """Write one message and flush it; OSError if the other side is gone."""
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


def model_info_from_json(fields: list[Any]) -> ModelInfo:
    """Return the model info that was sent as a list."""
    name, characters, *rest = fields
    return ModelInfo(name, tuple(characters), *rest)


def chunk_from_json(text: str, logprobs: list[Any], finish: Any, num_drawn: int) -> Chunk:
    """Return the chunk that was sent as a list."""
    return Chunk(
        text,
        [CharacterLogprob(log_p, [(c, p) for c, p in top]) for log_p, top in logprobs],
        finish,
        num_drawn,
    )
