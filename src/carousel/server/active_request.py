"""The texts of one request, from their submission to their end, however that comes."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from carousel.server.access_log import Record
from carousel.server.api_error import GONE, ApiError, api_error
from carousel.server.metrics import Metrics
from carousel.server.rate_limit import RateLimit
from carousel.server.request import Model
from carousel.server.types import Chunk, Job, TextStream

# Cost of reading a character, relative to drawing one: the engine reads one of the story model
# in 11.9 µs and draws one in 15.2 (bf16: 6.3 and 8.2). That is 0.79 and 0.76, by the tables of
# decoding.md in benchmarks/results.
READING = 0.8
POLL = 0.05  # seconds at most until it is noticed that a client has gone


@dataclass(frozen=True)
class Client:
    """The sender of a request.

    Attributes:
        name: Key of its rate limit.
        address: Key of its share of the texts.
        is_gone: Returns whether it has disconnected.
    """

    name: str
    address: str
    is_gone: Callable[[], bool]


class ServerContext(NamedTuple):
    """What all requests share.

    Attributes:
        models: By name; the first is the default.
        metrics: Counters of the server.
        rate_limit: Of each client; None if there is none.
        seconds: Longest duration of a request.
    """

    models: dict[str, Model]
    metrics: Metrics
    rate_limit: RateLimit | None
    seconds: float


class ActiveRequest:
    """The texts of one request. `close` must be called in the end, and may be called again.

    Raises:
        ApiError: If the request exceeds the client's rate limit.
        CarouselError: If the server is full, or there is no worker.
    """

    def __init__(
        self,
        context: ServerContext,
        model: Model,
        jobs: Sequence[Job],
        client: Client,
        record: Record,
    ) -> None:
        self._front = context
        self._jobs = jobs
        self._name = model.info.name
        self._client = client
        self._record = record
        self._unused = sum(map(most_drawn, jobs))  # of what was charged; below 0, more was drawn
        self._live: dict[int, TextStream] = {}
        self._is_closed = False
        reading = math.ceil(sum(map(reading_cost, jobs)))
        _charge(context.rate_limit, client.name, self._unused, reading)
        try:
            self._live = dict(enumerate(model.engine.submit(jobs, client.address)))
        except BaseException:
            self._refund(self._unused + reading)
            raise
        context.metrics.active.labels(self._name).inc(len(jobs))
        context.metrics.read.labels(self._name).inc(sum(len(job.prompt) for job in jobs))

    def chunks(self) -> Iterator[tuple[int, Chunk]]:
        """Yield each chunk with the index of its job, as it comes, to the end of every text.

        Raises:
            ApiError: If it takes too long, or the client has gone.
            CarouselError: If a text cannot be finished.
        """
        waiting = set(self._live)  # for their first character
        while self._live:
            for index, chunk in self._poll():
                if chunk.finish_reason is not None:
                    del self._live[index]
                if index in waiting and (chunk.text or chunk.finish_reason):
                    waiting.remove(index)
                    self._front.metrics.first.labels(self._name).observe(self._record.seconds)
                yield index, chunk
            self._check()

    def end(self, error: Exception) -> ApiError:
        """Abort what is not finished, and return the error to send."""
        self._record.api_error = api_error(error)
        self.close()
        return self._record.api_error

    def close(self) -> None:
        """Abort what is not finished, and refund what was not used."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._live and self._record.api_error is None:  # the reader has stopped reading
            self._record.api_error = _gone()
        for text in self._live.values():
            text.cancel(lambda drawn: self._refund(-drawn))
        self._front.metrics.active.labels(self._name).dec(len(self._jobs))
        self._refund(self._unused)

    def _poll(self) -> list[tuple[int, Chunk]]:
        """Return the chunks that have come; wait for one, but not for long."""
        timeout = POLL
        came = []
        for index, text in self._live.items():
            # All texts proceed at about the same pace: wait for one of them only.
            while (chunk := text.next(timeout)) is not None:
                self._count(index, chunk)  # now: if the next text raises, this was drawn too
                came.append((index, chunk))
                timeout = 0
                if chunk.finish_reason is not None:
                    break
            timeout = 0
        return came

    def _check(self) -> None:
        if self._live and self._client.is_gone():
            raise _gone()
        if self._live and self._record.seconds > self._front.seconds:
            message = f"a request may last {self._front.seconds:g} seconds; a shorter text would do"
            raise ApiError(message, status=504, code="timeout")

    def _count(self, index: int, chunk: Chunk) -> None:
        scored = len(self._jobs[index].prompt) if self._jobs[index].prompt_logprobs else 0
        self._unused -= chunk.num_drawn
        self._record.characters += len(chunk.text) + (scored if chunk.finish_reason else 0)
        self._front.metrics.written.labels(self._name).inc(len(chunk.text))

    def _refund(self, characters: int) -> None:
        if self._front.rate_limit is not None:
            self._front.rate_limit.refund(self._client.name, characters)


def _gone() -> ApiError:
    return ApiError("the client has gone", status=GONE, code="gone")


def most_drawn(job: Job) -> int:
    """Return how many characters a text may draw; they are charged before it begins.

    Candidates longer than the best one may draw more, which is charged at the end.
    """
    return job.length * job.sampling.candidates


def reading_cost(job: Job) -> float:
    """Return the cost of reading the prompt, in characters drawn; every text costs something."""
    cost = len(job.prompt) * (1 if job.prompt_logprobs else READING)
    return cost if job.length else max(1, cost)


def _charge(rate_limit: RateLimit | None, client: str, characters: int, reading: int) -> None:
    if rate_limit is None:
        return
    wait = rate_limit.take(client, characters, reading)
    if math.isinf(wait):
        message = f"this is for up to {characters} characters, and a client may have"
        message = f"{message} {rate_limit.characters} a minute: a smaller request would work"
        raise ApiError(f"{message}, or fewer candidates", code="over_budget")
    if wait > 0:
        seconds = math.ceil(wait)
        message = f"a client may have {rate_limit.characters} characters a minute"
        raise ApiError(
            f"{message}; these are free in {seconds} s",
            status=429,
            code="rate_limit_exceeded",
            headers={"Retry-After": str(seconds)},
        )
