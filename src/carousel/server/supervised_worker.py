"""A writer (job.Writer) whose worker is elsewhere: watched, and replaced if it dies or hangs."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from carousel.errors import CarouselError, ConfigError
from carousel.server.fair_share import may_begin, rest_of_share, running, texts_to_end
from carousel.server.protocol import LEFT, job_to_json, piece_from_json
from carousel.server.types import Busy, Card, Job, Overloaded, Text, Unavailable
from carousel.server.watched_text import WatchedText
from carousel.server.worker_connection import STALE, Process, Shift, Worker

MAX_STREAMS = 64  # texts of one model written at the same time
PAUSES = (0.1, 30.0)  # seconds before a new worker is started: after the first death, and at most
SOUND = 60.0  # seconds of work after which a death counts as the first again
OTHER_MODEL = (
    "its folder now holds another model than when the server started: start the server again to "
    "serve that one, or put the first one back"
)
OVERLOADED = (
    "the server is full and this client had more than its share: its newest request ends here; "
    "ask for fewer texts at once, or try again later"
)

log = logging.getLogger("carousel.server")


def process_writer(
    run: Path, name: str, *, precision: str = "float32", max_streams: int = MAX_STREAMS
) -> "WatchedWriter":
    """Have a process started that writes with the model of a run folder or checkpoint."""
    module = ["-m", "carousel.server.worker"]
    arguments = [str(run.resolve()), "--name", name, "--precision", precision]
    return WatchedWriter(lambda: Process([*module, *arguments]), max_streams)


class WatchedWriter:
    """A writer whose workers come and go. `close` it in the end."""

    def __init__(self, start: Callable[[], Worker], max_streams: int = MAX_STREAMS) -> None:
        """Have the first worker started; `wait` says when it is ready.

        Args:
            start: Starts a worker; OSError if that is impossible now.
            max_streams: Texts written at the same time.
        """
        self._start = start
        self._max_streams = max_streams
        self._card: Card | None = None
        self._keys = count()
        self._lock = threading.Lock()  # keeps the next five together
        self._shift: Shift | None = None  # the worker that is there
        self._absence = "its worker is being started"  # why there is none that can write
        self._texts: dict[int, WatchedText] = {}  # those being written, or paused
        self._paused: set[int] = set()  # of them, those that make way for other clients' texts
        self._leaving: dict[int, Callable[[int], None]] = {}  # who is told what they have drawn
        self._has_logged_other = False  # that the folder holds another model
        self._closed = threading.Event()
        self._settled = threading.Event()  # the first worker is ready, or failed
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the first worker is ready; from then on there is a card.

        Raises:
            CarouselError: If it cannot be, with the reason.
        """
        self._settled.wait()
        if self._failure is not None:
            raise CarouselError(self._failure)

    def __len__(self) -> int:
        """Return how many texts are being written, or paused."""
        return len(self._texts)

    @property
    def card(self) -> Card:
        """The model."""
        if self._card is None:
            raise Unavailable(self._absence)
        return self._card

    @property
    def worker(self) -> Worker | None:
        """The worker that can write now."""
        shift = self._shift
        return shift.worker if shift and shift.is_ready else None

    def obstacle(self) -> str | None:
        """Say why it cannot write now, by the last real step of the model; None if it can."""
        shift = self._shift
        if shift is None or not shift.is_ready:
            return self._absence
        age = time.monotonic() - shift.last_good
        return f"its worker has not answered for {age:.0f} seconds" if age > STALE else None

    def write(self, jobs: Sequence[Job], client: str = "") -> list[Text]:
        """Begin these texts, all or none.

        Args:
            jobs: The texts.
            client: Who asks for them; each client has a share (fair_share.py).

        Raises:
            Busy: If there is no room for all of them.
            ConfigError: If there never will be.
            Unavailable: If there is nobody to write them.
        """
        if len(jobs) > self._max_streams:
            raise ConfigError(
                f"{len(jobs)} texts are too many: {self._max_streams} are written at the same time"
            )
        with self._lock:
            shift = self._shift
            if shift is None or not shift.is_ready:
                raise Unavailable(self._absence)
            self._make_way(shift, client, len(jobs))
            keys = [next(self._keys) for _ in jobs]
            texts = {key: WatchedText(key, keys[0], client, self._cancel) for key in keys}
            self._texts |= texts
            orders = zip(keys, map(job_to_json, jobs), strict=True)
            shift.tell({"join": [list(order) for order in orders]})
            self._share(shift)
        return list(texts.values())

    def _make_way(self, shift: Shift, client: str, number: int) -> None:
        """End the newest requests of others where a client cannot have its share otherwise.

        Raises:
            Busy: If it has its share, or asks for more than that.
        """
        if may_begin(self._clients, client, number, self._max_streams):
            return
        requests = {key: text.request for key, text in self._texts.items()}
        keys = texts_to_end(self._clients, requests, client, number, self._max_streams)
        if not keys:
            most = rest_of_share(self._clients, client, self._max_streams)
            fewer = f", or ask for at most {most} at once" if most and number > 1 else ""
            raise Busy(f"{len(self._texts)} texts are being written; try again in a moment{fewer}")
        for key in keys:
            text = self._texts.pop(key)
            text.put(Overloaded(OVERLOADED))
            self._leaving[key] = text.charge
            shift.tell({"leave": key})

    def close(self) -> None:
        """End the texts that are being written, each with an error, and the worker."""
        with self._lock:
            self._closed.set()
            shift = self._shift
            self._dismiss("the server is stopping: the text ends here")
            self._absence = "the server is stopping"
        if shift:
            shift.worker.kill()
        self._thread.join()

    def _cancel(self, key: int, on_drawn: Callable[[int], None]) -> None:
        with self._lock:
            if key in self._leaving:  # it was ended for another client's
                self._leaving[key] = on_drawn
            elif self._texts.pop(key, None) and self._shift:
                self._leaving[key] = on_drawn
                self._shift.tell({"leave": key})
                self._share(self._shift)

    @property
    def _clients(self) -> dict[int, str]:
        return {key: text.client for key, text in self._texts.items()}

    def _share(self, shift: Shift) -> None:
        """Pause and resume texts, so that each client has its share of the places."""
        paused = self._texts.keys() - running(self._clients, self._max_streams)
        if paused != self._paused:
            resumed = self._paused & self._texts.keys() - paused
            shift.tell({"pause": [*(paused - self._paused)], "resume": [*resumed]})
            self._paused = paused

    def _dismiss(self, why: str) -> None:
        """Let there be no worker, and tell those who wait for their texts why."""
        self._shift = None
        for text in self._texts.values():
            text.put(Unavailable(why))
        self._texts.clear()
        self._paused.clear()
        self._leaving.clear()

    def _supervise(self) -> None:
        """Let one worker after the other work, with pauses that grow if they do not last."""
        pause = PAUSES[0]
        while not self._closed.is_set():
            began = time.monotonic()
            why = self._work()
            if not self._settled.is_set():  # there was never one that could: tell, do not try on
                self._failure = why
                self._settled.set()
                return
            if time.monotonic() - began > SOUND:
                pause = PAUSES[0]
            if not self._closed.is_set():
                self._log_end(why, pause)
            self._closed.wait(pause)
            pause = min(2 * pause, PAUSES[1])

    def _log_end(self, why: str, pause: float) -> None:
        """Log why a worker ended, once for a folder that holds another model."""
        if why != OTHER_MODEL:
            log.warning("%s: %s; a new one starts in %.1f s", self.card.name, why, pause)
        elif not self._has_logged_other:
            log.error("%s: %s", self.card.name, why)
        self._has_logged_other = why == OTHER_MODEL

    def _work(self) -> str:
        """Let a worker work to its end, and return why it ended."""
        try:
            shift = Shift(self._start(), self._compare, self._begin, self._pass_on)
        except OSError as error:
            return f"its worker cannot be started: {error.strerror}"
        with self._lock:
            self._shift = shift
            if self._closed.is_set():
                shift.worker.kill()
        why = shift.watch()
        with self._lock:
            self._dismiss(f"{why}: the text ends here; a new worker is on its way")
            if not self._closed.is_set():
                self._absence = why if why == OTHER_MODEL else f"{why}; a new one is on its way"
        shift.end()
        return why

    def _compare(self, card: Card) -> None:
        """Refuse a worker whose model is not that of the first: requests were promised that one.

        Raises:
            CarouselError: If it is another; when the files were written makes no difference.
        """
        if self._card is None:
            self._card = card
        elif card._replace(created=self._card.created) != self._card:
            raise CarouselError(OTHER_MODEL)

    def _begin(self) -> None:
        """Note that a worker is ready."""
        if self._settled.is_set():
            log.info("%s: a new worker is ready", self.card.name)
            self._has_logged_other = False
        self._settled.set()

    def _pass_on(self, news: list[list[Any]]) -> None:
        """Hand the pieces to the texts; those that are over leave room for others."""
        with self._lock:
            before = len(self._texts)
            for key, written, chances, finish, error, drawn in news:
                if on_drawn := self._leaving.get(key):
                    on_drawn(drawn)
                    if finish == LEFT:
                        del self._leaving[key]
                if text := self._texts.get(key):
                    piece = piece_from_json(written, chances, finish, drawn)
                    text.put(CarouselError(error) if error else piece)
                    if finish or error:
                        del self._texts[key]
            if self._shift and len(self._texts) < before:
                self._share(self._shift)
