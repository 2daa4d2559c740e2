"""An `EngineClient` whose worker is supervised: it is replaced if it dies or hangs."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from carousel.errors import CarouselError, ConfigError
from carousel.server.chunk_queue import ChunkQueue
from carousel.server.fair_share import may_begin, rest_of_share, running, texts_to_end
from carousel.server.protocol import ABORTED, chunk_from_json, job_to_json
from carousel.server.types import Busy, Job, ModelInfo, Overloaded, TextStream, Unavailable
from carousel.server.worker_connection import STALE, Process, Worker, WorkerConnection

MAX_STREAMS = 64  # texts of one model generated at the same time
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


def start_supervised_worker(
    run: Path, name: str, *, precision: str = "float32", max_streams: int = MAX_STREAMS
) -> "SupervisedWorker":
    """Start a process that holds the model of a run folder or checkpoint."""
    module = ["-m", "carousel.server.worker"]
    arguments = [str(run.resolve()), "--name", name, "--precision", precision]
    return SupervisedWorker(lambda: Process([*module, *arguments]), max_streams)


class SupervisedWorker:
    """Access to one model in a worker that is replaced if it ends. Call `close` when done."""

    def __init__(self, start: Callable[[], Worker], max_streams: int = MAX_STREAMS) -> None:
        """Start the first worker; `wait` returns when it is ready.

        Args:
            start: Starts a worker; OSError if that is impossible now.
            max_streams: Texts generated at the same time.
        """
        self._start = start
        self._max_streams = max_streams
        self._model_info: ModelInfo | None = None
        self._keys = count()
        self._lock = threading.Lock()  # for the next five
        self._connection: WorkerConnection | None = None  # to the present worker
        self._absence = "its worker is being started"  # why there is no worker that is ready
        self._texts: dict[int, ChunkQueue] = {}  # active or paused
        self._paused: set[int] = set()  # of them, to make room for other clients
        self._aborted: dict[int, Callable[[int], None]] = {}  # called with what they have drawn
        self._has_logged_other = False  # that the folder holds another model
        self._closed = threading.Event()
        self._settled = threading.Event()  # the first worker is ready, or failed
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until the first worker is ready; `model_info` is available from then on.

        Raises:
            CarouselError: If it cannot be, with the reason.
        """
        self._settled.wait()
        if self._failure is not None:
            raise CarouselError(self._failure)

    def __len__(self) -> int:
        """Return how many texts are active or paused."""
        return len(self._texts)

    @property
    def model_info(self) -> ModelInfo:
        """The model."""
        if self._model_info is None:
            raise Unavailable(self._absence)
        return self._model_info

    @property
    def worker(self) -> Worker | None:
        """The worker, if it is ready."""
        connection = self._connection
        return connection.worker if connection and connection.is_ready else None

    def unavailable_reason(self) -> str | None:
        """Return why it cannot generate now, by the latest probe of the model; None if it can."""
        connection = self._connection
        if connection is None or not connection.is_ready:
            return self._absence
        age = time.monotonic() - connection.last_good
        return f"its worker has not answered for {age:.0f} seconds" if age > STALE else None

    def submit(self, jobs: Sequence[Job], client: str = "") -> list[TextStream]:
        """Begin these texts, all or none.

        Args:
            jobs: The texts.
            client: Who requests them; each client has a share (fair_share.py).

        Raises:
            Busy: If there is no room for all of them.
            ConfigError: If there never will be.
            Unavailable: If there is no worker.
        """
        if len(jobs) > self._max_streams:
            raise ConfigError(
                f"{len(jobs)} texts are too many: {self._max_streams} are written at the same time"
            )
        with self._lock:
            connection = self._connection
            if connection is None or not connection.is_ready:
                raise Unavailable(self._absence)
            self._make_room(connection, client, len(jobs))
            keys = [next(self._keys) for _ in jobs]
            texts = {key: ChunkQueue(key, keys[0], client, self._cancel) for key in keys}
            self._texts |= texts
            rows = zip(keys, map(job_to_json, jobs), strict=True)
            connection.send({"add": [list(row) for row in rows]})
            self._share(connection)
        return list(texts.values())

    def _make_room(self, connection: WorkerConnection, client: str, number: int) -> None:
        """End the newest requests of others if a client cannot have its share otherwise.

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
            self._aborted[key] = text.charge
            connection.send({"abort": key})

    def close(self) -> None:
        """End all texts, each with an error, and the worker."""
        with self._lock:
            self._closed.set()
            connection = self._connection
            self._dismiss("the server is stopping: the text ends here")
            self._absence = "the server is stopping"
        if connection:
            connection.worker.kill()
        self._thread.join()

    def _cancel(self, key: int, on_drawn: Callable[[int], None]) -> None:
        with self._lock:
            if key in self._aborted:  # it was ended to make room
                self._aborted[key] = on_drawn
            elif self._texts.pop(key, None) and self._connection:
                self._aborted[key] = on_drawn
                self._connection.send({"abort": key})
                self._share(self._connection)

    @property
    def _clients(self) -> dict[int, str]:
        return {key: text.client for key, text in self._texts.items()}

    def _share(self, connection: WorkerConnection) -> None:
        """Pause and resume texts so that each client has its share."""
        paused = self._texts.keys() - running(self._clients, self._max_streams)
        if paused != self._paused:
            resumed = self._paused & self._texts.keys() - paused
            connection.send({"pause": [*(paused - self._paused)], "resume": [*resumed]})
            self._paused = paused

    def _dismiss(self, why: str) -> None:
        """Drop the worker, and end all texts with this reason."""
        self._connection = None
        for text in self._texts.values():
            text.put(Unavailable(why))
        self._texts.clear()
        self._paused.clear()
        self._aborted.clear()

    def _supervise(self) -> None:
        """Run one worker after the other, with pauses that grow if they do not last."""
        pause = PAUSES[0]
        while not self._closed.is_set():
            began = time.monotonic()
            why = self._run_worker()
            if not self._settled.is_set():  # the first worker failed: report it, do not retry
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
            log.warning("%s: %s; a new one starts in %.1f s", self.model_info.name, why, pause)
        elif not self._has_logged_other:
            log.error("%s: %s", self.model_info.name, why)
        self._has_logged_other = why == OTHER_MODEL

    def _run_worker(self) -> str:
        """Run a worker to its end; return why it ended."""
        try:
            connection = WorkerConnection(
                self._start(), self._check_model, self._on_ready, self._deliver
            )
        except OSError as error:
            return f"its worker cannot be started: {error.strerror}"
        with self._lock:
            self._connection = connection
            if self._closed.is_set():
                connection.worker.kill()
        why = connection.watch()
        with self._lock:
            self._dismiss(f"{why}: the text ends here; a new worker is on its way")
            if not self._closed.is_set():
                self._absence = why if why == OTHER_MODEL else f"{why}; a new one is on its way"
        connection.end()
        return why

    def _check_model(self, info: ModelInfo) -> None:
        """Reject a worker whose model is not that of the first worker.

        Raises:
            CarouselError: If it is another model; the time of its files does not matter.
        """
        if self._model_info is None:
            self._model_info = info
        elif info._replace(created=self._model_info.created) != self._model_info:
            raise CarouselError(OTHER_MODEL)

    def _on_ready(self) -> None:
        """Record that a worker is ready."""
        if self._settled.is_set():
            log.info("%s: a new worker is ready", self.model_info.name)
            self._has_logged_other = False
        self._settled.set()

    def _deliver(self, rows: list[list[Any]]) -> None:
        """Put the chunks into the queues of their texts; finished texts make room for others."""
        with self._lock:
            before = len(self._texts)
            for key, written, logprobs, finish, error, num_drawn in rows:
                if on_drawn := self._aborted.get(key):
                    on_drawn(num_drawn)
                    if finish == ABORTED:
                        del self._aborted[key]
                if text := self._texts.get(key):
                    chunk = chunk_from_json(written, logprobs, finish, num_drawn)
                    text.put(CarouselError(error) if error else chunk)
                    if finish or error:
                        del self._texts[key]
            if self._connection and len(self._texts) < before:
                self._share(self._connection)
