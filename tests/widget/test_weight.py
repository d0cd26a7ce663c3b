"""How much a page loads of us, compressed: budgets, which a change may not exceed."""

from __future__ import annotations

import gzip
from pathlib import Path

from gigachat_server.widget.files import Files
from tests.harness import gigachat
from tests.widget.visits import fetched, visiting

KB = 1000
BUDGETS = {"widget.js": 4 * KB, "frame.js": 14 * KB, "frame.css": 6 * KB}
HTML = 6 * KB
FIRST_PAINT = 30 * KB


async def test_the_widget_weighs_no_more_than_it_may(tmp_path: Path) -> None:
    files = Files("")
    sizes = {name: len(files[name].compressed) for name in (*BUDGETS, "panel.js")}
    async with gigachat(tmp_path) as api, visiting(api) as visit:
        heaviest = 0
        for locale in ("en", "ru", "fa", "ja"):
            html = await visit.get(f"?key={visit.key}&locale={locale}")
            heaviest = max(heaviest, len(gzip.compress(html.text.encode(), 9)))
        loader = await fetched(api, f"/widget.js?chatbot={visit.chatbot_id}&key={visit.key}")
        sizes["widget.js with settings"] = len(gzip.compress(loader.text.encode(), 9))
    assert {name: sizes[name] for name in BUDGETS if sizes[name] > BUDGETS[name]} == {}
    assert sizes["widget.js with settings"] <= BUDGETS["widget.js"]
    assert heaviest <= HTML
    assert sizes["panel.js"] + sizes["frame.js"] + sizes["frame.css"] + heaviest <= FIRST_PAINT
