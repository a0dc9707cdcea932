"""The live page without a browser: what its buttons return, how it listens, and what it never tells."""

import re
import socket
import struct
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.chat import ChatRequest
from cadvi_hub.pages.settings import ViewSettings
from tests.support.report_parts import data_set, picture, write_json

gr = pytest.importorskip("gradio", reason="gradio is in the extra `view`")
from cadvi_hub.pages.compare_tab import CompareTab, Conversation  # noqa: E402
from cadvi_hub.pages.data_tab import DataTab  # noqa: E402
from cadvi_hub.pages.page import make_page, serve  # noqa: E402
from cadvi_hub.pages.rows import open_sets  # noqa: E402

ROOT = Path(__file__).parents[2]


class Saying:
    """Says the same in three pieces, or fails after the first."""

    name = "saying"
    about = ""

    def __init__(self, problem: bool = False):
        self.problem = problem
        self.requests: list[ChatRequest] = []

    def stream(self, request: ChatRequest) -> Iterator[str]:
        self.requests.append(request)
        yield "Commonalities:\nBoth show <b>red</b>.\n\n"
        if self.problem:
            raise InputError("endpoint http://x", "cannot be reached", "Start it")
        yield "Differences:\n"
        yield "1. Counts: one, then two."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data_set(tmp_path / "data", "v1")
    data_set(tmp_path / "data", "v2")
    write_json(tmp_path / "data" / "empty" / "build.json", {"rows": 0, "files": [], "drops": {}})
    return tmp_path / "data"


@pytest.fixture
def data_tab(data: Path) -> Iterator[DataTab]:
    with gr.Blocks(analytics_enabled=False):
        yield DataTab(open_sets(str(data)), None)


def header_of_a_huge_bmp() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 90_000, 90_000, 1, 24, *[0] * 6)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def compare_tab(chat: Saying, data: Path) -> CompareTab:
    with gr.Blocks(analytics_enabled=False):
        return CompareTab(chat, open_sets(str(data)), None, ())


def test_paging_goes_on_goes_back_and_stops_at_the_ends(data_tab: DataTab) -> None:
    html, number = data_tab.move(1, "v1", 1)
    assert number == 2
    assert "pair-1" in html
    assert data_tab.move(-1, "v1", 2)[1] == 1
    assert "This is the first one." in data_tab.move(-1, "v1", 1)[0]
    assert "This is the last one." in data_tab.move(1, "v1", 9)[0]
    assert data_tab.move(0, "v1", 10_000)[1] == 1
    assert "No row fits" in data_tab.move(0, "v1", 1, text="unicorn")[0]
    assert "has no rows" in data_tab.move(0, "empty", 1)[0]


def test_an_address_leads_to_its_row(data_tab: DataTab) -> None:
    html, number, name, *_ = data_tab.open("v2", "pair-6")
    assert (number, name) == (7, "v2")
    assert "?set=v2&amp;row=pair-6" in html
    assert "There is no row" in data_tab.open("v2", "<gone>")[0]
    assert "<gone>" not in data_tab.open("v2", "<gone>")[0]
    assert data_tab.open("other", None)[2] == "v1"


def test_what_was_left_out_is_told_or_where_to_look(data_tab: DataTab, data: Path) -> None:
    assert "were left out" in data_tab.open("v1", None)[-1]
    assert "Nothing was left out." in data_tab.open("empty", None)[-1]
    (data / "v1" / "build.json").unlink()  # as in a repository on the Hub
    with gr.Blocks(analytics_enabled=False):
        tab = DataTab(open_sets(str(data)), None)
    assert "See the card of the published data set." in tab.open("v1", None)[-1]


def test_a_comparison_is_streamed_and_then_shown_by_aspect(data: Path) -> None:
    chat = Saying()
    tab = compare_tab(chat, data)
    shown = list(tab.compare_row("v1", 1))
    assert len(shown) == 1 + 3 + 1
    assert "What do the two images have in common, and how do they differ?" in shown[0][0]
    assert "writing" in shown[1][0]
    last, conversation, _ = shown[-1]
    assert "writing" not in last
    assert 'class="differ"' in last
    assert "<b>" not in last
    *_, (answered, _, _) = tab.ask("Which is <image> larger?", conversation)
    asked = chat.requests[-1]
    assert [turn["role"] for turn in asked.messages] == ["user", "assistant", "user"]
    assert sum(part["type"] == "image" for turn in asked.messages for part in turn["content"]) == 2
    assert answered.count("<img ") == 2


def test_a_model_that_is_down_gives_a_message_and_keeps_the_question(data: Path) -> None:
    chat = Saying()
    tab = compare_tab(chat, data)
    *_, (_, conversation, _) = tab.compare_row("v1", 1)
    chat.problem = True
    *_, (html, kept, question) = tab.ask("Why?", conversation)
    assert "cannot be reached" in html
    assert kept == conversation
    assert question == "Why?"


def test_uploads_are_checked_before_a_model_sees_them(data: Path, tmp_path: Path) -> None:
    chat = Saying()
    tab = compare_tab(chat, data)
    good, broken = tmp_path / "good.png", tmp_path / "broken.png"
    good.write_bytes(picture("red")["bytes"])
    broken.write_bytes(header_of_a_huge_bmp())

    def said(*files: Any) -> str:
        return str(list(tab.compare_uploads(*files))[-1][0])

    assert "exceeds" in said(str(good), str(broken))
    assert "Give two pictures" in said(str(good), None)
    assert not chat.requests
    assert "Both show" in said(str(good), str(good))


def test_a_question_before_a_comparison_asks_nobody(data: Path) -> None:
    chat = Saying()
    (shown,) = compare_tab(chat, data).ask("Why?", Conversation())
    assert "Compare two pictures first" in shown[0]
    assert not chat.requests


def test_the_page_stays_on_this_machine_and_tells_no_token(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = serve(ViewSettings(data=str(data), port=port), block=False)
    try:
        assert page.local_url.startswith("http://127.0.0.1:")
        assert capsys.readouterr().out == f"The page is at {page.local_url} until Ctrl+C stops it\n"
        with urllib.request.urlopen(page.local_url) as answer:
            text, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "secret" not in text
        assert "fonts.googleapis" not in text
        assert page.share is False
    finally:
        page.close()


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1: it is taken"):
            serve(ViewSettings(port=port), block=False)


def test_a_page_of_nothing_says_what_to_name() -> None:
    texts = str(make_page(ViewSettings()).config)
    assert "cadvi view --data" in texts
    assert "No results were named" in texts


def test_a_space_requires_what_the_package_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    pinned = {*project["dependencies"], *extras["train"], *extras["view"]}
    space = ROOT / "cadvi_hub/pages/space"
    assert set((space / "requirements.txt").read_text("utf-8").split("\n")) - {""} <= pinned
    (gradio,) = (Requirement(each) for each in extras["view"] if each.startswith("gradio"))
    (version,) = re.findall("^sdk_version: (.+)$", (space / "README.md").read_text("utf-8"), re.MULTILINE)
    assert version in gradio.specifier
