"""A build as tasks of a cluster, by datatrove's executors for Slurm and Ray.

There are three steps: one task reads and pairs, `workers` tasks make the shards, one task finishes. The files in the
build's folder, on a disk that all nodes share, show what is done; datatrove's own marks are not used. A build that was
stopped goes on when the same command submits it again. Each task has a reply store of its own,
`replies-00003-of-00008.sqlite`: with another number of tasks, the model is asked again for unfinished shards.

On one machine a build uses a process pool of the standard library: datatrove's local executor waits for ever for a
worker that was killed.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cadvi_hub.builder.folder import share_build_folder
from cadvi_hub.builder.plan import Plan
from cadvi_hub.builder.records import stage_graphs, stage_records, staged_records
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.builder.shards import ShardMaker, is_made, lay_out
from cadvi_hub.builder.stages import RECORDS
from cadvi_hub.core.errors import InputError

if TYPE_CHECKING:
    from datatrove.executor.base import PipelineExecutor


def submit(plan: Plan) -> None:
    """Submit the three steps. Slurm queues them; with Ray this waits for the first two and does the last one here.

    Raises:
        InputError: datatrove, Ray or Slurm is not installed, datatrove or Slurm does not accept an option, an address
            has a password (datatrove would write it to a file), or a task of Ray failed.
    """
    if any(urlsplit(url).password for url in plan.settings.annotator.addresses):
        problem = "it holds a password, which would be written to the files of the job"
        raise InputError("annotator.base_url", problem, "Use a key, in the variable that api_key_env names")
    with plan.locked_folder() as folder:
        if folder.is_complete():
            return
    # By now `_work` says that the old build is replaced. A task that starts late must not replace a newer one.
    plan = replace(plan, settings=replace(plan.settings, overwrite=False), authors=None)
    records = _executor(plan, "records", 1, read_and_pair)
    shards = _executor(plan, "shards", plan.settings.workers, make_share, records)
    if plan.settings.executor == "ray":
        records.run()
        shards.run()
        finish(plan, None, 0, 1)  # reports missing shards: Ray's executor does not report a failed task
    else:
        last = _executor(plan, "finish", 1, finish, shards)
        if shutil.which("sbatch") is None:
            hint = "Submit from a machine of the cluster, or use the local executor"
            raise InputError("executor", "Slurm's command sbatch is not on this machine", hint)
        try:
            last.run()  # submits those that it depends on first
        except subprocess.CalledProcessError as error:
            problem = f"sbatch does not take the job (exit status {error.returncode})"
            raise InputError("executor_options", problem, "Fix what it says above") from error
        print(f"submitted; {plan.path} is complete when the job {plan.path.name}-finish has succeeded")


def _executor(plan: Plan, name: str, tasks: int, step: Any, before: Any = None) -> PipelineExecutor:
    """`tasks` tasks that do `step`; with Slurm they begin when those of `before` have succeeded."""
    options: dict[str, Any] = {
        "tasks": tasks,
        "logging_dir": str(plan.settings.out / "_logs" / f"{plan.path.name}-{plan.digest}" / name),
        "skip_completed": False,
        **plan.settings.executor_options,
    }
    try:
        if plan.settings.executor == "slurm":
            from datatrove.executor import SlurmPipelineExecutor

            return SlurmPipelineExecutor(
                [partial(step, plan)], job_name=f"{plan.path.name}-{name}", depends=before, **options
            )
        import ray  # noqa: F401 - datatrove imports it only when it runs
        from datatrove.executor import RayPipelineExecutor

        return RayPipelineExecutor([partial(step, plan)], **options)
    except ImportError as error:
        problem = f"{error.name or 'datatrove'} is not installed"
        hint = "Run `pip install 'cadvi-hub[cluster]'`, and for Ray `pip install ray`"
        raise InputError("executor", problem, hint) from error
    except TypeError as error:
        reason = str(error).rpartition("__init__() ")[2]
        problem = f"datatrove's executor does not take them ({reason})"
        raise InputError("executor_options", problem, "Name them as its documentation does") from error


def read_and_pair(plan: Plan, data: Any, rank: int, tasks: int) -> None:
    """First step, one task: stage the records that shards are cut from."""
    with plan.locked_folder() as folder:
        if not (folder.is_complete() or folder.is_laid_out()):
            stage_records(plan, folder)
            stage_graphs(plan, folder)


def make_share(plan: Plan, data: Any, rank: int, tasks: int) -> None:
    """Second step, `tasks` tasks: make the shards `rank`, `rank + tasks` … that are missing.

    Raises:
        InputError: another task is making one of them, or the folder belongs to another build by now.
    """
    with share_build_folder(plan.path, plan.digest, plan.pictures, plan.split) as folder:
        if folder.is_complete() or folder.is_laid_out():
            return
        if not folder.stages.has(RECORDS):
            raise InputError(str(plan.path), "the records have not been read", "Look at the log of the step before")
        maker = ShardMaker(_with_own_replies(plan.settings, rank, tasks), folder)
        for number in range(rank, staged_records(folder).blocks, tasks):
            with folder.locked_part(number):
                if not is_made(plan.settings, folder, number):
                    maker.make(number)


def _with_own_replies(settings: BuildSettings, rank: int, tasks: int) -> BuildSettings:
    """The settings with a reply store for this task alone: several machines cannot share SQLite's log."""
    store = Path(settings.annotator.reply_store or settings.out / "replies.sqlite")
    own = str(store.with_stem(f"{store.stem}-{rank:05d}-of-{tasks:05d}"))
    return replace(settings, annotator=replace(settings.annotator, reply_store=own))


def finish(plan: Plan, data: Any, rank: int, tasks: int) -> None:
    """Last step, one task: give the shards their final names.

    Raises:
        InputError: a shard is missing.
    """
    with plan.locked_folder() as folder:
        if folder.is_complete():
            return
        if not folder.is_laid_out():
            if not folder.stages.has(RECORDS):
                problem = "the records have not been read"
                raise InputError(str(plan.path), problem, "Look at the logs of the steps before and submit again")
            read = staged_records(folder)
            missing = [number for number in range(read.blocks) if not folder.has_part(number)]
            if missing:
                problem = f"{len(missing)} of {read.blocks} shards are missing, the first is {missing[0]}"
                raise InputError(str(plan.path), problem, "Look at the logs of the shards and submit again")
            lay_out(plan, folder, read)
        folder.finish()
