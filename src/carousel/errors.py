"""Errors that a user can fix; each is printed as one clear line, never as a traceback."""

import re
from collections.abc import Iterator
from contextlib import contextmanager


class CarouselError(Exception):
    """Something went wrong that its message explains: what, where, and what would work."""


class UsageError(CarouselError):
    """The command or a setting makes no sense as given (exit code 2)."""


class ConfigError(UsageError, ValueError):
    """A setting lies outside what is possible; the message names field and value."""


class TextError(CarouselError, ValueError):
    """A text cannot be read, encoded or split."""


class DataError(CarouselError, ValueError):
    """A table or the series in it cannot be read or learned from; the message names the place."""


class CheckpointError(CarouselError):
    """A checkpoint is missing, damaged, or not of this program; the message names the file."""


class RunError(CarouselError):
    """A run folder cannot be used as asked: taken by another trainer, finished, or changed."""


class StorageError(CarouselError):
    """A disk or folder refuses: full, read-only, removed; the message says what is safe."""


class DivergenceError(CarouselError):
    """Training met a loss or gradient that is not a finite number."""


class UnreadableError(CarouselError, OSError):
    """A file is not one that can be read here: a device, a pipe, larger than it may be."""


class CarouselWarning(UserWarning):
    """Something in a text or a setting that may not be meant; it ends nothing."""


QUOTED = 300  # characters of a file that a message quotes at most


def shorten(quoted: object, limit: int = QUOTED) -> str:
    """Return what a message quotes from a file, cut at 300 characters: it may have megabytes."""
    text = str(quoted)
    return f"{text[:limit]}… ({len(text):,} characters)" if len(text) > limit else text


def shorten_words(line: str, limit: int = QUOTED) -> str:
    """Return a line whose longest words are cut at 300 characters: a user may type thousands."""
    return re.sub(rf"\S{{{limit + 1},}}", lambda word: shorten(word[0], limit), line)


_FLAG = re.compile(r"(?<![\w/.-])--([a-z][a-z0-9-]*)")


def name_arguments(message: str) -> str:
    """Return a message in which flags such as --init-from are arguments of Python: init_from."""
    return _FLAG.sub(lambda flag: flag[1].replace("-", "_"), message)


@contextmanager
def python_words() -> Iterator[None]:
    """Make errors name arguments of Python functions instead of flags."""
    try:
        yield
    except CarouselError as error:
        if len(error.args) == 1:
            error.args = (name_arguments(str(error)),)
        raise
