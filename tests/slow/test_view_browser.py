"""The page in headless Chromium: all tabs with real rows, the keyboard, a narrow window, and what may go wrong.

Screenshots go to the folder that VIEW_SCREENSHOTS names, if it does.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cadvi_hub.builder.build import build
from cadvi_hub.builder.settings import BuildSettings
from cadvi_hub.core.schema import v1_features
from cadvi_hub.eval.benchmarks.writing import write_questions
from cadvi_hub.pages.settings import ViewSettings
from cadvi_hub.pages.view import view
from cadvi_hub.sources.settings import SourceSettings
from tests.slow.browser import Browser, free_port, served
from tests.support.report_parts import N, data_set, evaluation, pair_row, picture, question, write_json

pytest.importorskip("gradio", reason="make browser_test installs it")
pytest.importorskip("selenium", reason="make browser_test installs it")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not shutil.which("chromedriver"), reason="chromium-driver is not installed"),
]

SAMPLE = Path(__file__).parents[3] / "shared/data/captioned_images"
OWN = "document.title='owned'"
HOSTILE = f"<script>{OWN}</script>\"'><img src=x onerror={OWN}>${{{OWN}}}"
RIGHT_TO_LEFT = "\u202e\u05db\u05dc\u05d1 \u05e8\u05e5 dog"
LARGE = 50_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets: v1 (real rows where the sample is there), hostile, large, empty."""
    folder = tmp_path_factory.mktemp("view") / "data"
    if SAMPLE.is_dir():
        build(BuildSettings("v1", SourceSettings(SAMPLE, "sample"), folder))
    else:
        data_set(folder, "v1")
    write_json(folder / "empty" / "build.json", {"rows": 0, "files": [], "drops": {}})
    schema = v1_features().arrow_schema
    hostile = [pair_row(number, "v1", text, 64) for number, text in enumerate((HOSTILE, RIGHT_TO_LEFT, "A dog runs."))]
    for row in hostile[:1]:
        row |= {"id": HOSTILE, "commonalities": HOSTILE, "source": HOSTILE, "annotator": HOSTILE}
    hostile[2]["images"][0] = {"bytes": picture("red", 64)["bytes"][:60], "path": "cut.png"}
    (folder / "hostile").mkdir()
    pq.write_table(pa.Table.from_pylist(hostile, schema), folder / "hostile" / "train.parquet")
    (folder / "large").mkdir()
    with pq.ParquetWriter(folder / "large" / "train.parquet", schema) as writer:
        for start in range(0, LARGE, 1000):
            rows = [pair_row(number, "v1", f"Dog number {number}.", 8) for number in range(start, start + 1000)]
            writer.write_table(pa.Table.from_pylist(rows, schema), row_group_size=100)
    return folder


@pytest.fixture(scope="module")
def settings(data: Path) -> ViewSettings:
    folder = data.parent
    first = evaluation(folder / "first", 5, ["bison"], wrong="A", both_orders=True)
    second = evaluation(folder / "second", 8, ["bison"], wrong="neither")
    write_questions((question("bison", index) for index in range(N)), folder / "questions")
    results = {"first": first, "second": second}
    return ViewSettings(data=str(data), results=results, questions=str(folder / "questions"))


@pytest.fixture(scope="module")
def address(settings: ViewSettings) -> Iterator[str]:
    with served(settings) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.driver.quit()


def test_a_pair_shows_pictures_captions_and_summary(browser: Browser, address: str) -> None:
    browser.open(address)
    text = browser.until(lambda: browser.text("#pair article"))
    assert "IN COMMON" in text
    assert "DIFFERENT" in text
    assert browser.driver.execute_script("return document.querySelectorAll('#pair mark').length") > 1
    script = "return [...document.querySelectorAll('#pair img')].map(i => i.naturalWidth)"
    widths = browser.driver.execute_script(script)
    assert len(widths) == 2
    assert all(widths)
    foreign = "return performance.getEntriesByType('resource').map(e => new URL(e.name).host)"
    assert set(browser.driver.execute_script(foreign)) <= {address.split("/")[2], ""}
    browser.picture("data")


def test_keys_page_and_the_address_follows(browser: Browser, address: str) -> None:
    browser.open(f"{address}?set=large&row=pair-41000")
    browser.until(lambda: "Dog number 41000" in browser.text("#pair"))
    for key, number in (("j", 41001), ("\ue014", 41002), ("k", 41001), ("\ue012", 41000)):
        browser.press(key)
        browser.until(partial(browser.shows, f"Dog number {number}.", "#pair"))
        browser.until(partial(browser.is_at, f"?set=large&row=pair-{number}"))


def test_the_tab_key_leaves_no_list_open_and_arrows_choose(browser: Browser, address: str) -> None:
    browser.open(f"{address}?set=hostile&row=pair-1")
    browser.until(lambda: browser.text("#pair article"))

    def listed() -> list[str]:
        options = "[...document.querySelectorAll('[role=option]')].filter(each => each.checkVisibility())"
        return list(browser.driver.execute_script(f"return {options}.map(each => each.innerText)"))

    def focused() -> str:
        return str(browser.driver.execute_script("return document.activeElement.getAttribute('aria-label') ?? ''"))

    browser.tab("Data")
    for _ in range(20):
        browser.press_here("\ue004")
        if focused() == "They differ in":
            break
    browser.until(lambda: any("Counts" in each for each in listed()))
    browser.press_here("\ue004")
    browser.until(lambda: not listed())
    browser.press_here("\ue008\ue004")  # back
    browser.until(lambda: any("Actions" in each for each in listed()))
    active = "return document.activeElement.getAttribute('aria-activedescendant') ?? ''"
    browser.press_here("\ue015")
    browser.until(lambda: browser.driver.execute_script(active).endswith("option-1"))
    browser.press_here("\ue007")
    browser.until(lambda: "No row fits" in browser.text("#pair"))
    browser.until(lambda: not listed())


def test_a_search_goes_through_all_rows(browser: Browser, address: str) -> None:
    browser.open(f"{address}?set=large&row=pair-0")
    browser.until(lambda: "Dog number 0." in browser.text("#pair"))
    browser.driver.find_element("css selector", "[placeholder^='word']").send_keys("number 49999\n")
    browser.until(lambda: "Dog number 49999." in browser.text("#pair"))
    browser.click("data-next")
    browser.until(lambda: "This is the last one." in browser.text("#pair"))


def test_hostile_texts_stay_texts(browser: Browser, address: str) -> None:
    browser.open(f"{address}?set=hostile&row={quote(HOSTILE)}")
    browser.until(lambda: "<script>" in browser.text("#pair"))
    time.sleep(0.5)
    assert browser.driver.title == "Comparing two images"
    assert browser.driver.execute_script("return document.querySelectorAll('#pair img').length") == 2
    browser.picture("hostile")
    browser.press("j")
    browser.until(lambda: "pair-1" in browser.driver.current_url)
    directions = "return getComputedStyle([...document.querySelectorAll('#pair .captions p')][0]).unicodeBidi"
    assert browser.driver.execute_script(directions) in ("isolate", "plaintext")
    browser.picture("right_to_left")


def test_a_broken_picture_says_so(browser: Browser, address: str) -> None:
    browser.open(f"{address}?set=hostile&row=pair-2")
    browser.until(lambda: "This picture cannot be shown." in browser.text("#pair"))
    assert browser.driver.execute_script("return document.querySelectorAll('#pair img').length") == 1
    browser.picture("broken")


def test_an_empty_set_says_so(browser: Browser, address: str) -> None:
    browser.open(f"{address}?set=empty")
    browser.until(lambda: "This data set has no rows." in browser.text("#pair"))


def test_a_narrow_window_needs_no_sideways_scrolling(browser: Browser, address: str) -> None:
    browser.open(address, width=500)
    browser.until(lambda: browser.text("#pair article"))
    assert browser.overflow() <= 0
    browser.picture("narrow_data")
    browser.tab("Results")
    browser.until(lambda: browser.text("#question article"))
    assert browser.overflow() <= 0
    browser.picture("narrow_results")


def test_results_say_whether_the_model_was_right(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.tab("Results")
    text = browser.until(lambda: browser.text("#question article"))
    assert "✓ right" in text
    assert "first" in text
    assert "second" in text
    browser.press("j")
    browser.until(lambda: "2 of 10" in browser.text("#question"))
    browser.driver.find_element("css selector", "input[aria-label='Answer']").click()
    choice = "//*[@role='option'][contains(., 'changed between')]"
    browser.until(lambda: browser.driver.find_elements("xpath", choice))[0].click()
    browser.until(lambda: "The two runs differ" in browser.text("#question"))
    browser.picture("results")


def test_two_uploads_are_compared_and_asked_about(browser: Browser, address: str, tmp_path: Path) -> None:
    browser.open(address)
    browser.tab("Compare")
    for number, colour in ((1, "red"), (2, "blue")):
        (tmp_path / f"{colour}.png").write_bytes(picture(colour, 64)["bytes"])
        field = browser.driver.find_element("css selector", f"#picture-{number} input[type=file]")
        field.send_keys(str(tmp_path / f"{colour}.png"))
        browser.until(partial(browser.shows, colour, f"#picture-{number}"))
    browser.click("compare")
    writing = "return document.querySelectorAll('#conversation .writing').length"
    answers = "return document.querySelectorAll('#conversation .assistant').length"
    browser.until(lambda: browser.driver.execute_script(writing))
    browser.until(
        lambda: browser.driver.execute_script(answers) == 1 and not browser.driver.execute_script(writing), 120
    )
    browser.picture("compare")
    browser.driver.find_element("css selector", "#follow-up textarea, #follow-up input").send_keys("Which is red?\n")
    browser.until(
        lambda: browser.driver.execute_script(answers) == 2 and not browser.driver.execute_script(writing), 120
    )
    browser.picture("follow_up")


def test_an_endpoint_that_is_down_gives_a_message(browser: Browser, settings: ViewSettings) -> None:
    with served(settings, base_url=f"http://127.0.0.1:{free_port()}/v1", model="some") as address:
        browser.open(address)
        browser.until(lambda: browser.text("#pair article"))
        browser.tab("Compare")
        browser.click("compare-row")
        browser.until(lambda: "cannot be reached" in browser.text("#conversation"))
        browser.picture("endpoint_down")


def test_the_exported_page_works_from_files(browser: Browser, settings: ViewSettings, tmp_path: Path) -> None:
    view(replace(settings, export=tmp_path, rows=5))
    browser.open((tmp_path / "index.html").as_uri())
    browser.until(lambda: "5 of 5 shown" in browser.text("form"))
    loaded = "return [...document.images].every(i => { i.loading = 'eager'; return i.complete && i.naturalWidth })"
    browser.until(lambda: browser.driver.execute_script(loaded))
    assert browser.driver.title == "Comparing two images"
    browser.driver.find_element("css selector", "input[type=search]").send_keys("no such word")
    browser.until(lambda: "0 of 5 shown" in browser.text("form"))
    answers = "form[data-for=answers]"
    choice = f"{answers} option[value=changed]"
    browser.driver.find_element("css selector", choice).click()
    browser.until(lambda: "1 of 5 shown" in browser.text(answers))
    assert (
        browser.driver.execute_script("return document.querySelectorAll('article[data-task]:not([hidden])').length")
        == 1
    )
    assert not [entry for entry in browser.driver.get_log("browser") if "Security" in entry["message"]]
    browser.picture("export")
