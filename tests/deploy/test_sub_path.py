"""Behind a proxy that serves gigachat under a path, every address that it gives leads back to it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gigachat_server.errors import SetupError
from gigachat_server.settings import load
from tests.deploy.proxy import Config, as_it_comes, needs_nginx, nginx
from tests.harness import Api, gigachat
from tests.serving.callers import calling, serving

pytestmark = [pytest.mark.sqlite_only]

PUBLIC = "https://chat.example.com/chat"
_ADDRESS = re.compile(r'\s(?:href|action|src)="([^"]*)"')


def below(replacement: str) -> Config:
    """nginx as it comes, with gigachat below a path, which `proxy_pass` with a path of its own takes off."""

    def config(folder: Path, listen: str, nodes: list[str]) -> str:
        text = as_it_comes(folder, listen, nodes)
        old = f"location / {{ proxy_pass http://{nodes[0]}; }}"
        assert text.count(old) == 1
        passed = f"proxy_pass http://{nodes[0]}{replacement}; proxy_set_header Host $http_host;"
        return text.replace(old, f"location /chat/ {{ {passed} }}")

    return config


LEFT, TAKEN_OFF = below(""), below("/")
CONFIGS = pytest.mark.parametrize("config", [LEFT, TAKEN_OFF], ids=["left", "taken off"])


class Front:
    """A browser or a program that knows the proxy alone."""

    def __init__(self, url: str, api: Api, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.api = api
        self._session = session
        self.cookie = ""

    async def call(self, method: str, path: str, *, key: bool = False, **options: Any) -> tuple[int, dict[str, str], str]:
        headers = {"Origin": self.url, **options.pop("headers", {})}
        if key:
            headers["Authorization"] = f"Bearer {self.api.key}"
        if self.cookie:
            headers["Cookie"] = self.cookie
        url = URL(self.url + path, encoded=True)
        async with self._session.request(method, url, headers=headers, allow_redirects=False, **options) as answer:
            return answer.status, {name.title(): value for name, value in answer.headers.items()}, await answer.text()

    async def sign_in(self, path: str) -> str:
        """By the login page at that path; where it leads."""
        status, _, page = await self.call("GET", path)
        assert status == 200
        wanted = re.search(r'name="next" value="([^"]*)"', page)
        form = {"key": self.api.key, **({"next": wanted[1]} if wanted else {})}
        status, headers, text = await self.call("POST", "/chat/login", data=form)
        assert status == 303, text
        assert "Path=/chat/;" in headers["Set-Cookie"] + ";"
        self.cookie = headers["Set-Cookie"].partition(";")[0]
        return headers["Location"]


@asynccontextmanager
async def served(folder: Path, config: Config) -> AsyncIterator[Front]:
    async with gigachat(folder, public_url=PUBLIC) as api:
        with nginx(config, api.url) as front:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
                yield Front(front.url, api, session)


@needs_nginx
@CONFIGS
async def test_every_address_of_a_page_leads_to_a_page(tmp_path: Path, config: Config) -> None:
    async with served(tmp_path, config) as front:
        await front.api.chatbot()
        status, headers, _ = await front.call("GET", "/chat/keys")
        assert (status, headers["Location"]) == (303, "/chat/login?next=%2Fkeys")
        assert await front.sign_in(headers["Location"]) == "/chat/keys"
        for path in ("/chat/", "/chat/keys", "/chat/models", "/chat/docs"):
            _, _, page = await front.call("GET", path)
            assert '<body class="' in page, path
            assert 'data-root="/chat"' in page
            addresses = {each.partition("#")[0] for each in _ADDRESS.findall(page)} - {""}
            assert addresses
            for address in addresses:
                assert address.startswith("/chat/"), (path, address)
                if address != "/chat/logout" and not address.startswith("/chat/web/"):
                    assert (await front.call("GET", address))[0] == 200, (path, address)
        _, _, docs = await front.call("GET", "/chat/docs")
        assert f"{PUBLIC}/chatbots" in docs
        token = re.search(r'name="csrf" value="([^"]+)"', (await front.call("GET", "/chat/keys"))[2])
        assert token
        status, headers, _ = await front.call("POST", "/chat/logout", data={"csrf": token[1]})
        assert (status, headers["Location"]) == (303, "/chat/login")
        assert "Path=/chat/" in headers["Set-Cookie"]


@needs_nginx
@CONFIGS
async def test_what_the_api_names_can_be_called(tmp_path: Path, config: Config) -> None:
    async with served(tmp_path, config) as front:
        status, headers, text = await front.call("POST", "/chat/chatbots", key=True, json={"name": "Superbot"})
        chatbot = f"/chat/chatbots/{json.loads(text)['id']}"
        site = {"kind": "page", "url": "https://www.example.com/"}
        for path, body in (("/sites", site), ("/fixed-answers", {"prompts": ["Open?"], "answer": "At nine."})):
            status, headers, text = await front.call("POST", chatbot + path, key=True, json=body)
            if "Location" in headers:
                assert headers["Location"].startswith(chatbot + path), text
                assert (await front.call("GET", headers["Location"], key=True))[0] == 200
        status, headers, _ = await front.call("POST", chatbot + "/documents", key=True, data=_form())
        assert status == 202
        assert (await front.call("GET", headers["Location"], key=True))[0] == 200
        said = {"conversation_id": "c1", "user_id": "ann", "prompt": "Hello"}
        assert (await front.call("POST", chatbot + "/conversations", key=True, json=said))[0] == 201
        _, headers, first = await front.call("GET", f"{chatbot}/conversations/c1/messages?limit=1", key=True)
        following = headers["Link"].removeprefix("<").partition(">")[0]
        assert following.startswith(f"{chatbot}/conversations/c1/messages?")
        status, _, second = await front.call("GET", following, key=True)
        assert status == 200
        assert json.loads(first)[0]["seq"] < json.loads(second)[0]["seq"]
        status, _, problem = await front.call("GET", f"{chatbot}/conversations/none", key=True)
        assert (status, json.loads(problem)["instance"]) == (404, f"{chatbot}/conversations/none")


@needs_nginx
@CONFIGS
async def test_what_an_error_names_can_be_opened(tmp_path: Path, config: Config) -> None:
    async with served(tmp_path, config) as front:
        for method, path in (("GET", "/chat/chatbot"), ("GET", "/chat/v1/chatbots"), ("GET", "/chat/chatbots/none")):
            status, _, text = await front.call(method, path, key=True)
            problem = json.loads(text)
            assert status == 404
            for named in (problem["type"], *re.findall(r"/[a-z/]+", problem["detail"].replace("/v1 ", ""))):
                assert named.startswith("/chat/"), problem
                assert (await front.call("GET", named, key=True))[0] == 200, named


async def test_what_is_no_request_is_told_where_its_error_is_explained() -> None:
    async with serving(public_url=PUBLIC) as (_, address), calling(address) as caller:
        await caller.send(b"nonsense\r\n\r\n")
        _, _, body = await caller.answer()
        assert json.loads(body)["type"] == "/chat/docs#error-malformed_request"


@needs_nginx
async def test_an_id_with_a_slash_passes_where_the_path_is_left(tmp_path: Path) -> None:
    async with served(tmp_path, LEFT) as front:
        chatbot = "/chat" + await front.api.chatbot()
        said = {"conversation_id": "a/b c%", "user_id": "ann", "prompt": "Hello"}
        assert (await front.call("POST", chatbot + "/conversations", key=True, json=said))[0] == 201
        path = f"{chatbot}/conversations/a%2Fb%20c%25"
        _, headers, _ = await front.call("GET", path + "/messages?limit=1", key=True)
        following = headers["Link"].removeprefix("<").partition(">")[0]
        assert following.startswith(path + "/messages?")
        assert (await front.call("GET", following, key=True))[0] == 200


async def test_without_the_proxy_paths_are_as_ever(tmp_path: Path) -> None:
    async with gigachat(tmp_path, public_url=PUBLIC) as api:
        assert (await api.get("/livez")).status == 200
        assert (await api.get("/chat/livez")).status == 200
        assert (await api.get("/chatlivez")).status == 404
        chatbot = await api.chatbot()
        assert (await api.get(chatbot)).status == 200
        assert (await api.get("/chat/chat" + chatbot)).status == 404


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://example.com", ""),
        ("https://example.com/", ""),
        ("http://[::1]:8000/chat/", "/chat"),
        ("https://example.com:8443/a/b-c_d.e", "/a/b-c_d.e"),
    ],
)
def test_the_public_address_has_a_path_or_none(url: str, path: str) -> None:
    assert load(environment={"GIGACHAT_PUBLIC_URL": url}).public_path == path


@pytest.mark.parametrize(
    "url",
    [
        "example.com/chat",
        "ftp://example.com",
        "https://example.com/chat?x",
        "https://example.com/chat#x",
        "https://user@example.com/",
        "https://example.com//chat",
        "https://example.com/../chat",
        "https://example.com/a%2Fb",
        'https://example.com/"><script>',
        "https://example.com/chatbots",
        "https://example.com/web/x",
    ],
)
def test_another_public_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SetupError, match="GIGACHAT_PUBLIC_URL"):
        load(environment={"GIGACHAT_PUBLIC_URL": url})


def _form() -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", b"Parcels are sent on Mondays.", filename="parcels.txt", content_type="text/plain")
    return form
