"""Tests reach no Hub but one on this machine; caches are in a folder that is deleted afterwards.

`huggingface_hub` and `datasets` read their settings when they are imported, so everything is set here, before any test
module is imported.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cadvi_hub.hub.loopback import LoopbackHub
from tests.faults import record

FOLDER = tempfile.TemporaryDirectory(prefix="cadvi-tests-")
HUB = LoopbackHub(Path(FOLDER.name) / "hub")

for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE"):
    os.environ.pop(variable, None)
os.environ |= {
    "HF_ENDPOINT": HUB.endpoint,
    "HF_TOKEN": HUB.token,
    "HF_HOME": str(Path(FOLDER.name) / "home"),
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@pytest.fixture(scope="session", autouse=True)
def _loopback() -> Iterator[None]:
    with HUB:
        yield
    FOLDER.cleanup()


@pytest.fixture
def hub(tmp_path: Path) -> LoopbackHub:
    """An empty Hub that the real clients reach, with its token in the environment."""
    HUB.reset(tmp_path / "hub")
    return HUB


faults = record.faults


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults_table", type=Path, help="run the tests that count faults, and write this Markdown page")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For the table, only the tests that count faults, wherever they are."""
    if config.getoption("faults_table"):
        config.hook.pytest_deselected(items=[item for item in items if not _counts_faults(item)])
        items[:] = filter(_counts_faults, items)


def _counts_faults(item: pytest.Item) -> bool:
    return "faults" in getattr(item, "fixturenames", ())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What the fault tests of this run found."""
    reports = (report for group in terminalreporter.stats.values() for report in group)
    if not (table := record.collect(reports)):
        return
    terminalreporter.section("faults")
    for line in record.lines(table):
        terminalreporter.write_line(line)
    if file := config.getoption("faults_table"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(record.report(table))
