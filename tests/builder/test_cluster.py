"""Builds by several processes or as cluster tasks: the same bytes, nothing twice, and a rerun after any death."""

import contextlib
import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cadvi_hub.annotation.settings import AnnotatorSettings
from cadvi_hub.builder.build import build
from cadvi_hub.builder.cluster import finish, make_share, read_and_pair
from cadvi_hub.builder.folder import share_build_folder
from cadvi_hub.builder.plan import make_plan
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.store import ReplyStore
from tests.support.builds import FakeAnnotator, contents, load, report, similar_source
from tests.support.openai_server import Answer, openai_server

REPLY = "Commonalities:\nBoth are plain squares.\n\nDifferences:\n1. Attributes: One of them is darker than the other."

SBATCH = """#!{python}
# Stands in for Slurm: runs every task of an array at once and says that a job was submitted.
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
with open(os.environ["SUBMITTED"], "a") as log:
    log.write(re.search("--job-name=(.*)", script)[1] + "\\n")
if "merge_stats" not in script:
    first, last = re.search("--array=(\\\\d+)-(\\\\d+)", script).groups()
    for task in range(int(first), int(last) + 1):
        environment = {{**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NODELIST": "here"}}
        subprocess.run(["bash", sys.argv[-1]], env=environment, check=True, stdout=subprocess.DEVNULL)
print("Submitted batch job 7")
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs named as Slurm's in front of the others; gives the file in which the submitted jobs are named."""
    programs = tmp_path / "programs"
    programs.mkdir()
    here = {"sbatch": SBATCH.format(python=sys.executable), "scontrol": "#!/bin/sh\necho here\n"}
    for name, text in here.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SUBMITTED", str(tmp_path / "submitted"))
    return tmp_path / "submitted"


@pytest.fixture
def server() -> Iterator[Any]:
    with openai_server(lambda request, number: Answer(REPLY)) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: Any) -> BuildSettings:
    source = similar_source(tmp_path / "similar")
    annotator = AnnotatorSettings(
        kind="server", prompt="summary_from_images", model="a-model", base_url=server.base_url
    )
    return BuildSettings("v2", source, tmp_path / "one", annotator=annotator, rows_per_shard=2)


def built(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if not name.endswith(".lock")}


def test_any_number_of_workers_gives_the_same_bytes_and_asks_the_same(
    settings: BuildSettings, server: Any, tmp_path: Path
) -> None:
    one = built(build(settings))
    assert len(server.requests) == 7
    three = built(build(replace(settings, out=tmp_path / "three", workers=3)))
    assert three == one
    assert len(server.requests) == 14


def test_a_killed_worker_is_an_error_and_the_rerun_makes_the_rest(
    settings: BuildSettings, server: Any, tmp_path: Path
) -> None:
    def kill_the_asker(request: Any, number: int) -> Answer:
        if number == 0:
            children = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
            for child in map(int, Path(children).read_text().split()):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)
        return Answer(REPLY)

    clean = built(build(replace(settings, out=tmp_path / "clean")))
    with openai_server(kill_the_asker) as deadly:
        annotator = replace(settings.annotator, base_url=deadly.base_url)
        with pytest.raises(InputError, match="a worker process was killed"):
            build(replace(settings, annotator=annotator, workers=2))
    assert built(build(replace(settings, workers=2))) == clean


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_workers_die_with_the_process_that_started_them(settings: BuildSettings, tmp_path: Path, end: Any) -> None:
    hanging = tmp_path / "asked"

    def hang(request: Any, number: int) -> Answer:
        hanging.write_text(str(number))
        time.sleep(60)
        return Answer(REPLY)

    script = (
        "import sys; from pathlib import Path\n"
        "from cadvi_hub.annotation.settings import *; from cadvi_hub.builder.build import *\n"
        "from cadvi_hub.sources.settings import *\n"
        "if __name__ == '__main__':\n"
        "    kind = {'kind': 'server', 'prompt': 'summary_from_images'}\n"
        "    annotator = AnnotatorSettings(model='a-model', base_url=sys.argv[3], **kind)\n"
        "    source = SourceSettings(Path(sys.argv[1]), 'similar')\n"
        "    build(BuildSettings('v2', source, Path(sys.argv[2]), annotator=annotator, rows_per_shard=2, workers=2))\n"
    )
    (tmp_path / "script.py").write_text(script)
    with openai_server(hang) as slow:
        arguments = [str(settings.source.path), str(settings.out), slow.base_url]
        parent = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), *arguments])
        until = time.monotonic() + 120
        while not hanging.exists():
            assert parent.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.send_signal(end)
        parent.wait(30)  # shorter than an answer takes
        while alive := [child for child in children if Path(f"/proc/{child}/stat").exists()]:
            assert time.monotonic() < until, f"{alive} live on"
            time.sleep(0.05)
    assert len(children) >= 2


def test_a_build_on_slurm_gives_the_bytes_of_a_local_one(settings: BuildSettings, slurm: Path, tmp_path: Path) -> None:
    local = built(build(replace(settings, out=tmp_path / "local")))
    options = {"time": "1:00:00", "partition": "cpu", "with_srun": False}
    on_slurm = replace(settings, executor="slurm", executor_options=options, workers=3)
    assert built(build(on_slurm)) == local
    jobs = [name for name in slurm.read_text().split() if not name.startswith("merge")]
    assert list(dict.fromkeys(jobs)) == ["v2-records", "v2-shards", "v2-finish"]
    submitted = slurm.read_text()
    assert built(build(on_slurm)) == local
    assert slurm.read_text() == submitted  # it stands already


def test_a_slurm_build_that_lost_tasks_goes_on_when_it_is_submitted_again(
    settings: BuildSettings, slurm: Path, tmp_path: Path
) -> None:
    local = built(build(replace(settings, out=tmp_path / "local")))
    plan = make_plan(settings)
    with pytest.raises(InputError, match="records have not been read"):
        make_share(plan, None, 0, 3)
    read_and_pair(plan, None, 0, 1)
    make_share(plan, None, 1, 3)
    with pytest.raises(InputError, match="3 of 4 shards are missing, the first is 0"):
        finish(plan, None, 0, 1)
    options = {"time": "1:00:00", "partition": "cpu", "with_srun": False}
    assert built(build(replace(settings, executor="slurm", executor_options=options, workers=2))) == local


def test_a_machine_without_slurm_and_a_job_that_slurm_refuses_are_errors(
    settings: BuildSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"time": "1:00:00", "partition": "gone"}
    on_slurm = replace(settings, executor="slurm", executor_options=options)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="executor: Slurm's command sbatch is not on this machine"):
        build(on_slurm)
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\nexit 3\n")
    sbatch.chmod(0o755)
    with pytest.raises(InputError, match=r"executor_options: sbatch does not take the job .exit status 3"):
        build(on_slurm)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for Ray: tasks run in this process, from a copy, and one that fails is not told of."""
    import datatrove.executor

    class Executor:
        def __init__(self, pipeline: list[Any], tasks: int, logging_dir: str, skip_completed: bool):
            self.pipeline, self.tasks = copy.deepcopy(pipeline), tasks  # fails of what cannot be pickled

        def run(self) -> None:
            for rank in range(self.tasks):
                with contextlib.suppress(InputError):
                    for step in self.pipeline:
                        step(None, rank, self.tasks)

    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setattr(datatrove.executor, "RayPipelineExecutor", Executor)


def test_a_build_on_ray_gives_the_bytes_of_a_local_one(settings: BuildSettings, ray: None, tmp_path: Path) -> None:
    local = built(build(replace(settings, out=tmp_path / "local")))
    assert built(build(replace(settings, executor="ray", workers=3))) == local


def test_a_task_that_failed_on_ray_is_an_error_and_the_same_command_goes_on(
    settings: BuildSettings, ray: None, tmp_path: Path
) -> None:
    local = built(build(replace(settings, out=tmp_path / "local")))
    on_ray = replace(settings, executor="ray", workers=2)
    picture = settings.source.path / "images/0.png"
    whole = picture.read_bytes()
    picture.write_bytes(b"none")
    with pytest.raises(InputError, match=r"2 of 4 shards are missing, the first is 0.*Look at the logs"):
        build(on_ray)
    picture.write_bytes(whole)
    assert built(build(on_ray)) == local


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_missing_ray_is_named(settings: BuildSettings) -> None:
    with pytest.raises(InputError, match=r"executor: ray is not installed. .*pip install ray"):
        build(replace(settings, executor="ray"))


def test_no_task_writes_beside_a_build_or_for_a_recipe_that_was_replaced(settings: BuildSettings) -> None:
    plan = make_plan(settings)
    read_and_pair(plan, None, 0, 1)
    with plan.locked_folder(), pytest.raises(InputError, match="a build is writing to this folder by itself"):
        make_share(plan, None, 0, 2)
    newer = make_plan(replace(settings, seed=1, overwrite=True))
    read_and_pair(newer, None, 0, 1)
    with pytest.raises(InputError, match=f"another recipe .digest {newer.digest}"):
        make_share(plan, None, 0, 2)


def test_no_two_tasks_make_one_shard_whatever_their_numbers(settings: BuildSettings) -> None:
    plan = make_plan(settings)
    read_and_pair(plan, None, 0, 1)
    with share_build_folder(plan.path, plan.digest, plan.pictures, plan.split) as folder, folder.locked_part(3):
        with pytest.raises(InputError, match="another task makes shard 3"):
            make_share(plan, None, 1, 2)
        with pytest.raises(InputError, match="another build is writing"):
            build(settings)
    assert folder.has_part(1)


def test_each_task_keeps_its_replies_by_itself(settings: BuildSettings) -> None:
    plan = make_plan(settings)
    read_and_pair(plan, None, 0, 1)
    make_share(plan, None, 1, 2)
    stores = {file.name: len(ReplyStore(file)) for file in settings.out.glob("replies*.sqlite")}
    assert stores == {"replies.sqlite": 0, "replies-00001-of-00002.sqlite": 3}


def test_an_annotator_that_is_passed_is_used_whatever_the_number_of_workers(settings: BuildSettings) -> None:
    rows = load(build(replace(settings, workers=2), FakeAnnotator("mine")))
    assert set(rows["annotator"]) == {"mine"}
    with pytest.raises(InputError, match="an annotator that is passed works in this process alone"):
        build(replace(settings, executor="slurm", name="other"), FakeAnnotator("mine"))


def test_what_a_worker_cannot_start_with_is_told_as_it_is(settings: BuildSettings, tmp_path: Path) -> None:
    graphs = tmp_path / "graphs"
    graphs.mkdir()
    (graphs / "scenes.jsonl").write_text("no scene\n")
    with pytest.raises(InputError, match=r"scenes\.jsonl, line 1: not a drawn scene"):
        build(replace(settings, graphs=graphs, workers=2))


def test_no_password_gets_into_the_files_of_a_job(settings: BuildSettings) -> None:
    annotator = replace(settings.annotator, base_url=["http://127.0.0.1:9/v1", "http://me:s3cret@127.0.0.1:9/v1"])
    with pytest.raises(InputError, match=r"annotator\.base_url: it holds a password"):
        build(replace(settings, annotator=annotator, executor="slurm", executor_options={"partition": "cpu"}))
    assert not [file for file in settings.out.rglob("*") if file.is_file() and b"s3cret" in file.read_bytes()]


def test_executor_options_that_datatrove_does_not_know_are_named(settings: BuildSettings) -> None:
    with pytest.raises(InputError, match=r"executor_options.*unexpected keyword argument 'queue'"):
        build(replace(settings, executor="slurm", executor_options={"queue": "cpu"}))


def test_the_report_does_not_tell_how_it_was_built(settings: BuildSettings, tmp_path: Path) -> None:
    folder = build(replace(settings, workers=2))
    assert "workers" not in report(folder)["recipe"]
