"""Builds by several processes or as cluster tasks: the same bytes, nothing twice, and a rerun after any death."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from builds import contents, report, similar_source
from openai_server import Answer, openai_server

from cadvi_hub.annotation import AnnotatorSettings
from cadvi_hub.build import BuildSettings, build, make_plan
from cadvi_hub.errors import InputError

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
def server():
    with openai_server(lambda request, number: Answer(REPLY)) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server) -> BuildSettings:
    source = similar_source(tmp_path / "similar")
    annotator = AnnotatorSettings("server", "summary_from_images", "a-model", server.base_url)
    return BuildSettings("v2", source, tmp_path / "one", annotator=annotator, rows_per_shard=2)


def built(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if not name.endswith(".lock")}


def test_any_number_of_workers_gives_the_same_bytes_and_asks_the_same(settings, server, tmp_path):
    one = built(build(settings))
    assert len(server.requests) == 7
    three = built(build(replace(settings, out=tmp_path / "three", workers=3)))
    assert three == one
    assert len(server.requests) == 14


def test_a_killed_worker_is_an_error_and_the_rerun_makes_the_rest(settings, server, tmp_path):
    def kill_the_asker(request, number):
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


def test_workers_die_with_the_process_that_started_them(settings, tmp_path):
    hanging = tmp_path / "asked"

    def hang(request, number):
        hanging.write_text(str(number))
        time.sleep(60)
        return Answer(REPLY)

    script = (
        "import sys; from pathlib import Path\n"
        "from cadvi_hub.annotation import *; from cadvi_hub.build import *; from cadvi_hub.sources import *\n"
        "if __name__ == '__main__':\n"
        "    annotator = AnnotatorSettings('server', 'summary_from_images', 'a-model', sys.argv[3])\n"
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
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        while alive := [child for child in children if Path(f"/proc/{child}/stat").exists()]:
            assert time.monotonic() < until, f"{alive} live on"
            time.sleep(0.05)
    assert len(children) >= 2


def test_a_build_on_slurm_gives_the_bytes_of_a_local_one(settings, slurm, tmp_path):
    local = built(build(replace(settings, out=tmp_path / "local")))
    options = {"time": "1:00:00", "partition": "cpu", "with_srun": False}
    on_slurm = replace(settings, executor="slurm", executor_options=options, workers=3)
    assert built(build(on_slurm)) == local
    jobs = [name for name in slurm.read_text().split() if not name.startswith("merge")]
    assert list(dict.fromkeys(jobs)) == ["v2-records", "v2-shards", "v2-finish"]
    submitted = slurm.read_text()
    assert built(build(on_slurm)) == local
    assert slurm.read_text() == submitted  # it stands already


def test_a_slurm_build_that_lost_tasks_goes_on_when_it_is_submitted_again(settings, slurm, tmp_path):
    from cadvi_hub.build.cluster import finish, make_share, read_and_pair

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


def test_executor_options_that_datatrove_does_not_know_are_named(settings):
    with pytest.raises(InputError, match=r"executor_options.*unexpected keyword argument 'queue'"):
        build(replace(settings, executor="slurm", executor_options={"queue": "cpu"}))


def test_the_report_does_not_tell_how_it_was_built(settings, tmp_path):
    folder = build(replace(settings, workers=2))
    assert "workers" not in report(folder)["recipe"]
