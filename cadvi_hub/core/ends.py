"""How every command ends when it cannot go on: with one line on stderr, and exit status 1."""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import TracebackType
from typing import Any

from cadvi_hub.core.errors import InputError

_SIGPIPE = 128 + 13  # how a shell reports a program whose reader has gone
_STDOUT = 1
_START, _END = 800, 400  # characters that are kept of a long text: the place at its start, the hint at its end


@contextmanager
def ending_in_one_line(command: str, debug: bool = False) -> Iterator[None]:
    """End the program with one line if the block raises or Ctrl-C stops it; with `debug` the error goes through.

    Args:
        command: what the user called, the start of the line.
        debug: whether to raise the error, so that Python shows its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        if debug:
            raise
        _close_bars()
        sys.exit(_stopped(command) or 1)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(_SIGPIPE)
        if debug:
            raise
        _close_bars()
        sys.exit(f"{command}: {one_line(error)}")


def end_imports_in_one_line(command: str) -> None:
    """Let Ctrl-C end this process with one line, too, while it is not yet in the block of `ending_in_one_line`.

    For a program that imports torch first, which takes seconds.
    """
    if wants_traceback(sys.argv):
        return
    show = sys.excepthook

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            show(kind, error, trace)
        elif line := _stopped(command):
            print(line, file=sys.stderr)

    def say_where_it_is_swallowed(raised: Any) -> None:
        if not issubclass(raised.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(raised)
            return
        say(KeyboardInterrupt, KeyboardInterrupt(), None)  # in a `__del__`, after which Python would go on
        os._exit(130)

    sys.excepthook, sys.unraisablehook = say, say_where_it_is_swallowed


def wants_traceback(argv: Sequence[str]) -> bool:
    """Whether `--debug` is given without a value; with one it is a setting of transformers."""
    return any(key == "--debug" and value.startswith("--") for key, value in pairwise([*argv, "--"]))


def _stopped(command: str) -> str:
    """What Ctrl-C ends with. One process of a launcher's says it, because Ctrl-C reaches all of them."""
    said_elsewhere = os.environ.get("LOCAL_RANK", "0") != "0"
    return "" if said_elsewhere else f"{command}: stopped. Run the same command again to continue"


def _nobody_reads() -> bool:
    """Whether the reader of our output has gone, as in `cadvi … | head`: then there is nothing to say."""
    if not hasattr(select, "poll"):  # Windows
        return False
    reader = select.poll()
    reader.register(_STDOUT, 0)
    if not any(event & select.POLLERR for _, event in reader.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # Python flushes it again at its end
    return True


def _close_bars() -> None:
    """End the progress bars that are still open: the message gets a line of its own, and is the last one."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        for bar in list(getattr(tqdm, "_instances", ())):
            bar.close()


def one_line(error: Exception) -> str:
    """What is wrong, and a hint; whatever the error is."""
    if isinstance(error, InputError):
        return _in_one_line(str(error))
    if isinstance(error, ModuleNotFoundError) and (extra := extra_with(error.name or "")):
        return f"{error.name} is not installed. Run `pip install 'cadvi-hub[{extra}]'`"
    if isinstance(error, MemoryError):
        return f"the memory is full ({_in_one_line(str(error))}). Ask for less at once, or use a larger machine"
    what = _in_one_line(f"{type(error).__name__}: {error}")
    return f"it failed, and no check foresaw why ({what}). Run it again with --debug to see where"


def _in_one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _START + _END else f"{text[:_START]} … {text[-_END:]}"


def extra_with(module: str) -> str | None:
    """The first extra of this package that installs `module`, or None."""
    from importlib import metadata

    for requirement in metadata.requires("cadvi-hub") or ():
        if match := re.fullmatch(rf"{re.escape(module)}\W.*extra == [\"'](\w+)[\"']", requirement):
            return match[1]
    return None
