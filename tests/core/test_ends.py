"""How a command ends whose output nobody reads any more."""

import os
import subprocess
import sys


def test_a_reader_that_leaves_early_is_no_failure() -> None:
    """As `cadvi benchmarks list | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "from cadvi_hub.cli import main; main(['benchmarks', 'list'])"
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.stderr, done.returncode) == ("", 141)


def test_another_broken_pipe_is_one() -> None:
    code = """
from cadvi_hub.core.ends import ending_in_one_line
with ending_in_one_line("cadvi build"):
    raise BrokenPipeError(32, "Broken pipe")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.startswith("cadvi build: it failed, and no check foresaw why (BrokenPipeError")
    assert done.returncode == 1


def test_ctrl_c_that_python_would_swallow_in_a_destructor_ends_the_imports_too() -> None:
    code = """
from cadvi_hub.core.ends import end_imports_in_one_line
end_imports_in_one_line("training")
class Group:
    def __del__(self):
        raise KeyboardInterrupt
Group()
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "training: stopped. Run the same command again to continue\n"
