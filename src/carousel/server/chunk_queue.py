"""The chunks of a text, from the thread that reads the worker to the one that answers."""

import contextlib
from collections.abc import Callable
from queue import Empty, SimpleQueue

from carousel.errors import CarouselError
from carousel.server.types import Chunk


class ChunkQueue:
    """A `TextStream` whose chunks come from a worker.

    Attributes:
        request: The key of the first text of its request.
        client: Who requested it.
    """

    def __init__(
        self,
        key: int,
        request: int,
        client: str,
        cancel: Callable[[int, Callable[[int], None]], None],
    ) -> None:
        self.request = request
        self.client = client
        self._key = key
        self._cancel = cancel
        self._is_cancelled = False
        self._chunks: SimpleQueue[Chunk | CarouselError] = SimpleQueue()

    def cancel(self, on_drawn: Callable[[int], None] = lambda drawn: None) -> None:
        """Abort the text; on_drawn is called with what was drawn since the last chunk."""
        if self._is_cancelled:
            return
        self._is_cancelled = True
        self._cancel(self._key, on_drawn)
        with contextlib.suppress(Empty):  # no chunk comes from now on
            while True:
                chunk = self._chunks.get_nowait()
                on_drawn(chunk.num_drawn if isinstance(chunk, Chunk) else 0)

    def put(self, chunk: Chunk | CarouselError) -> None:
        """Add the next chunk, or the reason why there will be none."""
        self._chunks.put(chunk)

    def charge(self, drawn: int) -> None:
        """Add what was drawn after the last chunk of a text that was ended."""
        self._chunks.put(Chunk("", [], None, drawn))

    def next(self, timeout: float) -> Chunk | None:
        """Return the next chunk, or None if none came within `timeout` seconds.

        Raises:
            CarouselError: If there will be no more, with the reason; Unavailable if the worker
                died.
        """
        try:
            chunk = self._chunks.get(timeout=max(0.0, timeout))
        except Empty:
            return None
        if isinstance(chunk, CarouselError):
            raise chunk
        return chunk
