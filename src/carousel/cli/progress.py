"""A progress bar beside which a terminal obeys nothing that is printed."""

import sys
from typing import IO, cast

from rich.file_proxy import FileProxy
from rich.progress import Progress

from carousel.cli.terminal import VisibleStream


class VisibleProgress(Progress):
    """A bar of rich's; what is printed meanwhile goes through a VisibleStream.

    rich puts streams of its own in place of stdout and stderr while it draws. They read colours
    and links out of what is printed, and send them on.
    """

    def start(self) -> None:
        """Begin to draw."""
        super().start()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, FileProxy):  # which the end of drawing puts away
                setattr(sys, name, VisibleStream(cast("IO[str]", stream)))
