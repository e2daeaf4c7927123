"""A real headless browser, if one is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


class Browser:
    """Opens pages at a given width and theme, and runs scripts in them."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, file: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Open a page on a screen of this size and theme."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", {"features": [theme]})
        self.log()
        self.driver.get(file.as_uri())

    def command(self, name: str, arguments: dict[str, Any]) -> Any:
        """Send the browser a command of its DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script: str) -> Any:
        """Run a script and return its result."""
        return self.driver.execute_script(script)

    def click(self, selector: str) -> None:
        """Click on an element at its position, like a user."""
        self.driver.find_element("css selector", selector).click()

    def log(self) -> list[dict[str, Any]]:
        """Return the network events since the last call."""
        return [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]

    def requests(self) -> list[str]:
        """Return the addresses requested since the last call, without those of the browser itself."""
        sent = [m for m in self.log() if m["method"] == "Network.requestWillBeSent"]
        addresses = [m["params"]["request"]["url"] for m in sent]
        return [address for address in addresses if not address.startswith(("data:", "chrome:"))]

    def complaints(self) -> list[str]:
        """Return the messages on the console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


def start_browser(profile: Path) -> Iterator[Browser]:
    """Start Chromium, or skip the test and name what is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver_file = shutil.which("chromedriver")
    if binary is None or driver_file is None:
        pytest.skip("no chromium and chromedriver here: the page is not opened in a real browser")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver_file)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
