"""The texts of one request: begun together, followed to their end, and ended in any case."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from carousel.server.access_log import Record
from carousel.server.api_error import GONE, Refusal, refusal
from carousel.server.metrics import Meters
from carousel.server.rate_limit import Budget
from carousel.server.request import Model
from carousel.server.types import Job, Piece, Text

# What reading a character costs, of what drawing one does: the engine reads one of the story model
# in 11.9 µs and draws one in 15.2 (bf16: 6.3 and 8.2). That is 0.79 and 0.76, by the tables of
# decoding.md in benchmarks/results.
READING = 0.8
POLL = 0.05  # seconds at most until it is noticed that a client has gone


@dataclass(frozen=True)
class Client:
    """Who asks.

    Attributes:
        name: By which its budget is known.
        address: By which its share of the texts is known.
        is_gone: Says whether it has hung up.
    """

    name: str
    address: str
    is_gone: Callable[[], bool]


class Front(NamedTuple):
    """What all requests share.

    Attributes:
        models: By name, the first of them for those who name none.
        meters: What is counted.
        budget: Of each client; None: there is no limit.
        seconds: That a request may last.
    """

    models: dict[str, Model]
    meters: Meters
    budget: Budget | None
    seconds: float


class Work:
    """The texts of one request. `close` must follow, and may come again.

    Raises:
        Refusal: If the client's budget does not reach.
        CarouselError: If the writer has no room, or is not there.
    """

    def __init__(
        self, front: Front, model: Model, jobs: Sequence[Job], client: Client, record: Record
    ) -> None:
        self._front = front
        self._jobs = jobs
        self._name = model.card.name
        self._client = client
        self._record = record
        self._unused = sum(map(most_drawn, jobs))  # of the budget; below 0, more was drawn
        self._live: dict[int, Text] = {}
        self._is_closed = False
        reading = math.ceil(sum(map(reading_cost, jobs)))
        _charge(front.budget, client.name, self._unused, reading)
        try:
            self._live = dict(enumerate(model.writer.write(jobs, client.address)))
        except BaseException:
            self._give_back(self._unused + reading)
            raise
        front.meters.active.labels(self._name).inc(len(jobs))
        front.meters.read.labels(self._name).inc(sum(len(job.prompt) for job in jobs))

    def pieces(self) -> Iterator[tuple[int, Piece]]:
        """Yield each piece with the number of its job, as it comes, to the end of every text.

        Raises:
            Refusal: If it takes too long, or the client has gone.
            CarouselError: If a text cannot be finished.
        """
        waiting = set(self._live)  # for their first character
        while self._live:
            for index, piece in self._come():
                if piece.finish is not None:
                    del self._live[index]
                if index in waiting and (piece.text or piece.finish):
                    waiting.remove(index)
                    self._front.meters.first.labels(self._name).observe(self._record.seconds)
                yield index, piece
            self._check()

    def end(self, error: Exception) -> Refusal:
        """End what is not over for this reason, and return what the client is to be told."""
        self._record.refusal = refusal(error)
        self.close()
        return self._record.refusal

    def close(self) -> None:
        """Stop what is not over, and give back what was not used."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._live and self._record.refusal is None:  # whoever read the texts reads no more
            self._record.refusal = _gone()
        for text in self._live.values():
            text.cancel(lambda drawn: self._give_back(-drawn))
        self._front.meters.active.labels(self._name).dec(len(self._jobs))
        self._give_back(self._unused)

    def _come(self) -> list[tuple[int, Piece]]:
        """Return what has come; wait for it, but not for long."""
        timeout = POLL
        came = []
        for index, text in self._live.items():
            # All texts go on at about the same pace: whoever waits for one need not for the rest.
            while (piece := text.next(timeout)) is not None:
                self._count(index, piece)  # now: if the next text raises, this was drawn too
                came.append((index, piece))
                timeout = 0
                if piece.finish is not None:
                    break
            timeout = 0
        return came

    def _check(self) -> None:
        if self._live and self._client.is_gone():
            raise _gone()
        if self._live and self._record.seconds > self._front.seconds:
            message = f"a request may last {self._front.seconds:g} seconds; a shorter text would do"
            raise Refusal(message, status=504, code="timeout")

    def _count(self, index: int, piece: Piece) -> None:
        scored = len(self._jobs[index].prompt) if self._jobs[index].is_scored else 0
        self._unused -= piece.drawn
        self._record.characters += len(piece.text) + (scored if piece.finish else 0)
        self._front.meters.written.labels(self._name).inc(len(piece.text))

    def _give_back(self, characters: int) -> None:
        if self._front.budget is not None:
            self._front.budget.give_back(self._client.name, characters)


def _gone() -> Refusal:
    return Refusal("the client has gone", status=GONE, code="gone")


def most_drawn(job: Job) -> int:
    """Return how many characters a text may draw, which are set aside before it begins.

    Candidates that are longer than the best one may draw more; what they drew is charged.
    """
    return job.length * job.sampling.candidates


def reading_cost(job: Job) -> float:
    """Return what reading its prompt costs, in characters drawn; no text is for nothing."""
    cost = len(job.prompt) * (1 if job.is_scored else READING)
    return cost if job.length else max(1, cost)


def _charge(budget: Budget | None, client: str, characters: int, reading: int) -> None:
    if budget is None:
        return
    wait = budget.take(client, characters, reading)
    if math.isinf(wait):
        message = f"this is for up to {characters} characters, and a client may have"
        message = f"{message} {budget.characters} a minute: a smaller request would work"
        raise Refusal(f"{message}, or fewer candidates", code="over_budget")
    if wait > 0:
        seconds = math.ceil(wait)
        message = f"a client may have {budget.characters} characters a minute"
        raise Refusal(
            f"{message}; these are free in {seconds} s",
            status=429,
            code="rate_limit_exceeded",
            headers={"Retry-After": str(seconds)},
        )
