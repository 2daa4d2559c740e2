"""A text that a worker writes: the front's end of a queue of pieces."""

import contextlib
from collections.abc import Callable
from queue import Empty, SimpleQueue

from carousel.errors import CarouselError
from carousel.server.types import Piece


class WatchedText:
    """A text that a worker writes (job.Text).

    Attributes:
        request: The key of the first text of its request.
        client: Who asked for it.
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
        self._pieces: SimpleQueue[Piece | CarouselError] = SimpleQueue()

    def cancel(self, on_drawn: Callable[[int], None] = lambda drawn: None) -> None:
        """Stop the work; on_drawn is called with what was drawn since the last piece."""
        if self._is_cancelled:
            return
        self._is_cancelled = True
        self._cancel(self._key, on_drawn)
        with contextlib.suppress(Empty):  # from now on, no piece comes
            while True:
                piece = self._pieces.get_nowait()
                on_drawn(piece.drawn if isinstance(piece, Piece) else 0)

    def put(self, piece: Piece | CarouselError) -> None:
        """Add the next piece, or why there will be none."""
        self._pieces.put(piece)

    def charge(self, drawn: int) -> None:
        """Keep what was drawn after the last piece for whoever cancels an ended text."""
        self._pieces.put(Piece("", [], None, drawn))

    def next(self, timeout: float) -> Piece | None:
        """Return the next piece, or None if none came within so many seconds.

        Raises:
            CarouselError: If there will be no more, with the reason; Unavailable if the worker
                died.
        """
        try:
            piece = self._pieces.get(timeout=max(0.0, timeout))
        except Empty:
            return None
        if isinstance(piece, CarouselError):
            raise piece
        return piece
