"""The three engines that the widget has to work in, each as a Selenium driver on a profile of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.shadowroot import ShadowRoot
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.widget.marionette import Marionette

T = TypeVar("T")

ENGINES = ("chromium", "firefox", "webkit")
PATIENCE_S = 20
_CHROMIUM = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1200,860"
)
# A frame of another site has a process of its own otherwise, and DevTools' emulation reaches the page's alone.
_ONE_PROCESS = ("--disable-site-isolation-trials", "--disable-features=IsolateOrigins,site-per-process")
_QUIET = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.disable_open_during_load": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.cookie.cookieBehavior": 1,  # none of third parties
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}
_MINI_BROWSERS = ("/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser", "/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser")


def missing(engine: str) -> str:
    """What the engine lacks here; empty if it can run."""
    wanted = {
        "chromium": ("chromium", "chromedriver"),
        "firefox": ("firefox-esr",),
        "webkit": ("WebKitWebDriver", "Xvfb"),
    }[engine]
    lacking = [name for name in wanted if shutil.which(name) is None]
    return f"needs the programs {' and '.join(lacking)}" if lacking else ""


class Browser:
    """A browser on pages that show the widget. Blocking: tests call it in a thread."""

    def __init__(self, driver: WebDriver, engine: str) -> None:
        self.driver = driver
        self.engine = engine

    # --- waiting ---

    def until(self, condition: Callable[[], T], *, seconds: float = PATIENCE_S) -> T:
        ignored = (StaleElementReferenceException, WebDriverException)
        wait = WebDriverWait(self.driver, seconds, poll_frequency=0.03, ignored_exceptions=ignored)
        return wait.until(lambda _: condition())

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def as_page(self, code: str) -> None:
        """Run by the page itself: what Firefox is told to run lives in a world of its own."""
        self.script(
            "const made = document.createElement('script'); made.textContent = arguments[0]; document.head.append(made)", code
        )

    # --- the page around ---

    def open(self, url: str) -> None:
        self.driver.get(url)

    def outside(self) -> None:
        self.driver.switch_to.default_content()

    @property
    def shadow(self) -> ShadowRoot:
        return self.until(lambda: self.driver.find_element(By.CSS_SELECTOR, "gigachat-widget").shadow_root)

    @property
    def launcher(self) -> WebElement:
        return self.until(lambda: self.shadow.find_element(By.CSS_SELECTOR, "button"))

    def hosts(self) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, "gigachat-widget"))

    def open_chat(self) -> None:
        """Opened, and inside of it."""
        self.outside()
        if self.launcher.get_dom_attribute("aria-expanded") != "true":
            self.script("arguments[0].click()", self.launcher)
        self.inside()

    def inside(self) -> None:
        self.outside()
        frame = self.until(lambda: self.shadow.find_element(By.CSS_SELECTOR, "iframe"))
        self.driver.switch_to.frame(frame)
        self.until(lambda: self.all("body[data-state]"))

    # --- the chat ---

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.until(lambda: self.all(selector))[0]

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.script(
            "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent.trim())", selector
        )
        return found

    def say(self, text: str) -> None:
        self.script(
            "const field = document.getElementById('prompt'); field.value = arguments[0];"
            "field.dispatchEvent(new Event('input')); document.getElementById('composer').requestSubmit()",
            text,
        )

    def replies(self) -> list[str]:
        return self.texts(".m.assistant[data-seq] .content")


@contextmanager
def browser(engine: str, *, is_emulating: bool = False) -> Iterator[Browser]:
    """`is_emulating`: what Chromium is told of the screen and of the reader's wishes holds inside the widget, too."""
    with ExitStack() as stack:
        profile = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        make = {"chromium": _chromium, "firefox": _firefox, "webkit": _webkit}[engine]
        driver = make(profile, stack) if not is_emulating else _chromium(profile, stack, *_ONE_PROCESS)
        stack.callback(_quit, driver)
        yield Browser(driver, engine)


def _quit(driver: WebDriver) -> None:
    driver.quit()


def _chromium(profile: Path, stack: ExitStack, *flags: str) -> WebDriver:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*_CHROMIUM.split(), *flags, f"--user-data-dir={profile}", "--host-resolver-rules=MAP *.test 127.0.0.1"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"profile.cookie_controls_mode": 1, "profile.block_third_party_cookies": True})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver") or ""))


def _firefox(profile: Path, stack: ExitStack) -> WebDriver:
    executor = Marionette(shutil.which("firefox-esr") or "", profile, _QUIET)
    stack.callback(executor.close)
    return WebDriver(command_executor=executor, options=webdriver.FirefoxOptions())  # type: ignore[arg-type]


def _webkit(profile: Path, stack: ExitStack) -> WebDriver:
    display = stack.enter_context(_display())
    options = webdriver.WebKitGTKOptions()
    options.binary_location = next(path for path in _MINI_BROWSERS if Path(path).exists())
    options.add_argument("--automation")
    options.set_capability("browserName", "MiniBrowser")
    environment = {**os.environ, "DISPLAY": display, "HOME": str(profile), "XDG_RUNTIME_DIR": str(profile), "GDK_BACKEND": "x11",
                   "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1", "LIBGL_ALWAYS_SOFTWARE": "1", "NO_AT_BRIDGE": "1",
                   "WEBKIT_DISABLE_DMABUF_RENDERER": "1", "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}  # fmt: skip
    service = webdriver.WebKitGTKService(shutil.which("WebKitWebDriver") or "", env=environment)
    service.start()
    stack.callback(service.stop)
    config = ClientConfig(remote_server_addr=service.service_url)
    return webdriver.Remote(command_executor=RemoteConnection(client_config=config), options=options)


@contextmanager
def _display() -> Iterator[str]:
    """A screen that nobody sees."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1000x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        process.terminate()
        process.wait()
