"""Worker processes that never outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LAUNCHERS = {"accelerate", "accelerate-launch", "accelerate.commands.launch", "torchrun", "torch.distributed.run"}
_LAUNCHERS |= {"torch.distributed.launch", "deepspeed", "deepspeed.launcher.launch"}


def usable_cores() -> int:
    """Cores that this process may use; a container or `taskset` can limit them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_cores() -> int:
    """Cores that other programs leave free, at least 1; watches them for a second."""
    import psutil

    busy: float = psutil.cpu_percent(interval=1)
    return max(1, round(usable_cores() * (1 - busy / 100)))


@contextmanager
def worker_pool(workers: int, start: Callable[..., Any], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes run `start(*arguments)` first and die with this one, even by kill -9.

    A worker that survived would write into the rerun's files. If a worker is killed, the pool raises
    `BrokenProcessPool`; `multiprocessing.Pool` would wait for its result for ever. After an error the running tasks
    finish and no other starts. Ctrl-C kills them, because a shard can take an hour and a rerun continues anyway.

    Several workers share the cores: each would otherwise compute with as many threads as there are, which slows all of
    them. `OMP_NUM_THREADS` in the environment wins. A single worker is left to choose, as a training does.
    """
    context = multiprocessing.get_context("spawn")  # forking a process with threads (tokenizers, torch) can hang
    threads = max(1, usable_cores() // workers) if workers > 1 else None
    pool = ProcessPoolExecutor(workers, context, _start, (os.getpid(), threads, start, arguments))
    try:
        yield pool
    except KeyboardInterrupt:
        for process in list((pool._processes or {}).values()):  # Python 3.14 has `kill_workers` for it
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def die_with(parent: int) -> None:
    """Let this process be killed when its parent `parent` dies, even by kill -9 (on Linux)."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


def die_with_launcher() -> None:
    """Let a training be killed when the launcher that started it dies: it would go on beside its rerun.

    Without a launcher it goes on when its shell ends, as after `nohup`.
    """
    parent = os.getppid()
    try:
        command = Path(f"/proc/{parent}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:  # not Linux
        return
    if _LAUNCHERS & {Path(word).name for word in command[:4]}:  # python -u -m NAME
        die_with(parent)


def _start(parent: int, threads: int | None, start: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    die_with(parent)
    if threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read when torch is imported, which is later
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent handles it
    start(*arguments)
