"""Ctrl-C while training from Python: what can be saved is saved before KeyboardInterrupt."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupt:
    """Whether Ctrl-C was typed, and whether training is at work, and then ends by itself."""

    is_wanted: bool = False
    at_work: bool = False


@contextmanager
def not_interruptible() -> Iterator[Interrupt]:
    """Leave Ctrl-C to Python: there is nothing to save."""
    yield Interrupt()


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Note the first Ctrl-C while training is at work, so that the present step can be saved.

    A handler that the caller installed is left alone, and so are other threads than the main one.
    """
    caught = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        if caught.is_wanted or not caught.at_work:
            raise KeyboardInterrupt
        caught.is_wanted = True

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield caught
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
