"""`make screenshots`: the widget in the states that people see, to be looked at one by one."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gigachat_server.models.base import ModelInput
from gigachat_server.models.fake import Pause, Script, ScriptedModel
from tests import stores
from tests.pages.pages import MATCHING
from tests.widget.browsers import Browser, browser
from tests.widget.engines import chatting, in_browser
from tests.widget.hosts import Host
from tests.widget.visits import Visit

RETURNS = (
    "Returns are free within **30 days**.[1] It takes three steps:\n\n1. Print the label from your order page.\n"
    "2. Put it on the box.\n3. Drop the box at any parcel shop.\n\n| Parcel | Fee |\n|---|---|\n| up to 5 kg | free |\n"
    "| up to 20 kg | 4.90 € |\n\nYou get your money back within five days of its arrival.[2]"
)
CODE = (
    "Send this from your server:\n\n```sh\ncurl https://api.fernwood.example/orders/7301 \\\n"
    "  -H 'Accept: application/json'\n```\n\nThe answer has the field `status`."
)
ARABIC = "يمكنك إرجاع أي منتج مجانًا خلال **30 يومًا**:\n\n1. اطبع الملصق.\n2. ضعه على الطرد.\n3. سلّمه في أي نقطة شحن."
HEBREW = "אפשר להחזיר כל מוצר בחינם בתוך **30 יום**:\n\n- מדפיסים את התווית\n- מדביקים על החבילה\n- מוסרים בנקודת איסוף"
DOCUMENTS = {
    "https://www.fernwood.example/help/returns": "# Returns\n\nReturns are free within 30 days. Print the label from your order "
    "page, put it on the box and drop it at any parcel shop. Parcels of more than 5 kg cost 4.90 €.",
    "https://www.fernwood.example/help/refunds": "# Refunds\n\nYou get your money back within five days of its arrival, by the "
    "way you paid. A gift card comes back as a gift card.",
}
DESKTOP, PHONE, ZOOMED = (1180, 820), (390, 844), (320, 256)


class Studio:
    """One browser, one shop, and a number for each picture."""

    def __init__(self, tab: Browser, visit: Visit, host: Host, folder: Path, pause: Pause) -> None:
        self.tab, self.visit, self.host, self.folder, self.pause = tab, visit, host, folder, pause
        self.count = 0

    def screen(self, size: tuple[int, int], *, dark: bool = False, forced: bool = False) -> None:
        is_phone = size[0] < 500
        cdp = self.tab.driver.execute_cdp_cmd
        scale = {PHONE: 2, ZOOMED: 4}.get(size, 1)
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": scale, "mobile": is_phone and size != ZOOMED}
        cdp("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        features += [{"name": "forced-colors", "value": "active" if forced else "none"}]
        cdp("Emulation.setEmulatedMedia", {"features": features})

    def visit_shop(self, *, locale: str = "en", is_open: bool = True) -> None:
        self.tab.outside()
        self.tab.open(f"{self.host.url}/shop?locale={locale}")
        self.tab.script("localStorage.clear()")
        self.tab.driver.refresh()
        assert self.tab.launcher.is_enabled()
        if is_open:
            self.tab.open_chat()

    def ask(self, text: str, *, is_awaited: bool = True) -> None:
        self.tab.outside()
        if self.tab.hosts():
            self.tab.inside()
        count = len(self.tab.replies())
        self.tab.say(text)
        if is_awaited:
            self.tab.until(lambda: len(self.tab.replies()) > count and not self.tab.all(".writing"))

    def take(self, name: str) -> None:
        self.tab.outside()
        self.tab.script("return new Promise((done) => setTimeout(done, 500))")
        self.count += 1
        self.tab.driver.save_screenshot(str(self.folder / f"{self.count:02}-{name}.png"))
        sys.stdout.write(f"{self.count:02}-{name}.png\n")

    def click(self, selector: str) -> None:
        self.tab.inside()
        self.tab.script("arguments[0].click()", self.tab.one(selector))

    async def conversation(self) -> str:
        (newest, *_) = (await self.visit.api.get(f"{self.visit.path}/conversations", key=self.visit.keeper)).body
        return f"{self.visit.path}/conversations/{newest['conversation_id']}"

    async def as_operator(self, below: str, body: dict[str, Any], *, method: str = "POST") -> None:
        done = await self.visit.api.call(method, await self.conversation() + below, body, key=self.visit.keeper)
        assert done.status < 300, done.text

    async def operator_says(self, text: str) -> None:
        conversation = (await self.conversation()).rpartition("/")[2]
        body = {"conversation_id": conversation, "user_id": "client:Maria", "prompt": text}
        assert (await self.visit.api.post(f"{self.visit.path}/conversations", body, key=self.visit.keeper)).status == 201


def _answers(pause: Pause) -> Callable[[ModelInput], Script]:
    def answer(model_input: ModelInput) -> Script:
        said = next(message.content for message in reversed(model_input.messages) if message.role == "user")
        if "slowly" in said:
            return ["Returns are free within **30 days**.\n\n", "Print the label from your", pause, " order page."]
        for word, reply in (("order", CODE), ("أعيد", ARABIC), ("להחזיר", HEBREW)):
            if word in said:
                return [reply]
        return [RETURNS]

    return answer


async def _desktop(studio: Studio) -> None:
    def alone() -> None:
        studio.screen(DESKTOP)
        studio.visit_shop(is_open=False)
        studio.take("launcher")
        studio.tab.open_chat()
        studio.take("welcome")
        studio.ask("How do returns work?")
        studio.take("reply")
        studio.click(".sources > summary")
        studio.click(".sources li summary")
        studio.tab.script("arguments[0].scrollIntoView({block: 'nearest'})", studio.tab.one(".sources"))
        studio.take("sources")
        studio.click(".newest [data-rating='down']")
        studio.take("what-was-wrong")
        studio.tab.inside()
        studio.ask("Where is my order, by API?")
        studio.take("code")
        studio.click("#menu")
        studio.take("menu")
        studio.click("#back")
        studio.take("conversations")
        studio.visit_shop()
        studio.ask("Tell me slowly", is_awaited=False)
        studio.tab.until(lambda: studio.tab.all(".writing .markdown"))
        studio.take("streaming")

    def offline() -> None:
        studio.visit_shop()
        studio.tab.script("window.fetch = () => Promise.reject(new TypeError('offline'))")
        studio.ask("Are you there?", is_awaited=False)
        studio.tab.until(lambda: studio.tab.texts("#notice")[0])
        studio.take("offline")

    await in_browser(alone)
    studio.pause.resume()
    await in_browser(offline)


async def _humans(studio: Studio) -> None:
    def ask() -> None:
        studio.screen(DESKTOP)
        studio.visit_shop()
        studio.ask("How do returns work?")
        studio.click("[data-do='handoff']")
        studio.tab.until(lambda: studio.tab.texts("#presence") == ["A colleague was asked to join"])
        studio.take("waiting-for-a-human")

    await in_browser(ask)
    await studio.as_operator("/takeover", {"operator": "Maria"})
    await studio.operator_says("Hello, Maria here. I have your order in front of me. Which item would you like to send back?")
    await in_browser(studio.tab.inside)
    await in_browser(lambda: studio.tab.say("The Ridge 2 tent. It is a little too small for us."))
    await in_browser(lambda: studio.tab.until(lambda: len(studio.tab.all(".m.user[data-seq]")) == 2))
    await studio.as_operator("/typing", {"user_id": "client:Maria"})
    await in_browser(lambda: studio.tab.until(lambda: studio.tab.texts("#presence") == ["Maria is writing…"]))
    await in_browser(lambda: studio.take("operator-typing"))
    await studio.operator_says("No problem. The label is on its way to you, and the larger one ships today.")
    await studio.as_operator("", {"status": "closed"}, method="PATCH")
    await in_browser(studio.tab.inside)
    await in_browser(lambda: studio.tab.until(lambda: studio.tab.all(".faces")))
    await in_browser(lambda: studio.take("rating"))

    def close() -> None:
        studio.visit_shop()
        studio.ask("How do returns work?")
        studio.tab.outside()
        studio.tab.script("gigachat.close()")

    await in_browser(close)
    await studio.operator_says("By the way: free shipping ends tonight.")
    await in_browser(lambda: studio.tab.until(lambda: "Unread" in (studio.tab.launcher.get_dom_attribute("aria-label") or "")))
    await in_browser(lambda: studio.take("unread"))


async def _others(studio: Studio) -> None:
    def dark() -> None:
        studio.screen(DESKTOP, dark=True)
        studio.visit_shop()
        studio.take("dark-welcome")
        studio.ask("How do returns work?")
        studio.take("dark-reply")

    def phone() -> None:
        studio.screen(PHONE)
        studio.visit_shop(is_open=False)
        studio.take("phone-launcher")
        studio.tab.open_chat()
        studio.take("phone-welcome")
        studio.ask("How do returns work?")
        studio.take("phone-reply")
        studio.screen(PHONE, dark=True)
        studio.take("phone-dark")

    def scripts() -> None:
        studio.screen(DESKTOP)
        studio.visit_shop(locale="ar")
        studio.ask("كيف أعيد منتجًا؟")
        studio.take("arabic")
        studio.screen(PHONE)
        studio.visit_shop(locale="he")
        studio.ask("איך אפשר להחזיר מוצר?")
        studio.take("hebrew")

    def strained() -> None:
        studio.screen((320, 640))
        studio.visit_shop()
        studio.ask("How do returns work?")
        studio.take("320-pixels")
        studio.screen(ZOOMED)
        studio.visit_shop()
        studio.ask("How do returns work?")
        studio.take("zoomed-400-percent")
        studio.screen(DESKTOP)
        studio.tab.outside()
        studio.tab.open(f"{studio.visit.api.url}/chat/{studio.visit.chatbot_id}")
        studio.tab.until(lambda: studio.tab.all("body[data-state]"))
        studio.ask("How do returns work?")
        studio.take("full-page")
        studio.screen(DESKTOP, forced=True)
        studio.take("forced-colours")

    for step in (dark, phone, scripts, strained):
        await in_browser(step)


async def main(folder: Path) -> None:
    pause = Pause()
    with ExitStack() as stack, browser("chromium", is_emulating=True) as tab:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        stack.enter_context(stores.using(stores.SQLiteStores()))
        async with chatting(data, model=ScriptedModel(_answers(pause)), name="Fernwood", **MATCHING) as (visit, host):
            for name, content in DOCUMENTS.items():
                await visit.api.push(visit.path, name, content)
            starters = ["Where is my parcel?", "How do returns work?", "Do you ship to Norway?"]
            changed = await visit.change_key(sources="full", starters=starters, allow_direct=True)
            assert changed.status == 200, changed.text
            studio = Studio(tab, visit, host, folder, pause)
            steps: list[Callable[[Studio], Awaitable[None]]] = [_desktop, _humans, _others]
            for step in steps:
                await step(studio)


if __name__ == "__main__":
    wanted = Path(sys.argv[1] if len(sys.argv) > 1 else "build/screenshots")
    wanted.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(wanted))
