"""Chromium without a window, and the page that it opens, for the tests of `cadvi view`."""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cadvi_hub.pages.settings import ViewSettings


@contextmanager
def served(settings: ViewSettings, **changed: Any) -> Iterator[str]:
    from cadvi_hub.pages.page import serve

    page = serve(replace(settings, port=free_port(), **changed), block=False)
    try:
        yield page.local_url
    finally:
        page.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Browser:
    """Chromium, and waiting for what it shows."""

    def __init__(self) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--proxy-server=direct://"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)

    def open(self, address: str, width: int = 1280, height: int = 1100) -> None:
        self.driver.set_window_size(width, height)
        self.driver.get(address)

    def until(self, shown: Callable[[], Any], seconds: float = 30) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := shown():
                return found
            time.sleep(0.02)
        raise AssertionError(f"not shown: {self.text()[:2000]} {self.driver.get_log('browser')}")

    def text(self, selector: str = "body") -> str:
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return str(self.driver.execute_script(script, selector))

    def shows(self, text: str, selector: str) -> bool:
        return text in self.text(selector)

    def is_at(self, end_of_address: str) -> bool:
        return bool(self.driver.current_url.endswith(end_of_address))

    def press(self, key: str) -> None:
        self.driver.find_element("tag name", "body").send_keys(key)

    def press_here(self, keys: str) -> None:
        """Keys to whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(keys)

    def click(self, element_id: str) -> None:
        self.driver.find_element("id", element_id).click()

    def tab(self, name: str) -> None:
        button = f"//button[@role='tab'][normalize-space()='{name}']"
        self.until(lambda: self.driver.find_elements("xpath", button))[0].click()

    def picture(self, name: str) -> None:
        """Keep a screenshot, where somebody wants to look at it."""
        if folder := os.environ.get("VIEW_SCREENSHOTS"):
            time.sleep(0.5)
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.driver.execute_script("return document.documentElement.scrollWidth - innerWidth"))
