"""Worker processes that never outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def usable_cores() -> int:
    """Cores that this process may run on, which a container or `taskset` can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_pool(workers: int, start: Callable[..., Any], *arguments: Any) -> ProcessPoolExecutor:
    """A pool whose processes run `start(*arguments)` first and die with this one, even by kill -9.

    Else those that survive would write beside the rerun. A worker that is killed ends the pool with an error
    (`BrokenProcessPool`), where `multiprocessing.Pool` would wait for its result for ever.
    """
    context = multiprocessing.get_context("spawn")  # forking a process with threads (tokenizers, torch) can hang
    return ProcessPoolExecutor(workers, context, _start, (os.getpid(), start, arguments))


def _start(parent: int, start: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    start(*arguments)
