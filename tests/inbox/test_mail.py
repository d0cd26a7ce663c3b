"""Mail: transcripts and alerts, through a real mail server that is sometimes away."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gigachat_server.errors import SetupError
from gigachat_server.inbox.mail_messages import one_line
from gigachat_server.inbox.mail_queue import Sender
from gigachat_server.inbox.mail_server import MailServer
from gigachat_server.store import parked
from tests.access.people import ALICE, BOB, PAGE, keeper, people
from tests.harness import Api, gigachat, until
from tests.inbox.clocks import SteppedClock
from tests.inbox.mailbox import Mailbox, free_port, serving
from tests.inbox.staff import disable, employ

CLOSED = {"hours": {"timezone": "Europe/Berlin"}}


def mailing(port: int) -> dict[str, Any]:
    return {"smtp_url": f"smtp://127.0.0.1:{port}", "mail_from": '"Søren, of the shop" <support@shop.example>'}


async def rows(api: Api) -> list[tuple[Any, ...]]:
    return await api.services.database.read(
        lambda reader: reader.all("SELECT kind, state, due_at, lease, attempts FROM mails ORDER BY id")
    )


def wake(api: Api) -> None:
    next(worker for worker in api.services.background.workers if worker.name == "mails").wake_up()


async def all_sent(api: Api) -> None:
    wake(api)

    async def are_gone() -> bool:
        return not await rows(api)

    await until(are_gone)


async def test_a_mail_server_that_is_away_for_an_hour_gets_one_mail(tmp_path: Path) -> None:
    clock, mailbox, port = SteppedClock(), Mailbox(), free_port()
    async with AsyncExitStack() as opened:
        api = await opened.enter_async_context(gigachat(tmp_path, clock=clock, **mailing(port)))
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        path = f"{chatbot}/conversations/c1/transcript"
        assert (await api.post(path, {"email": "ann@example.com"})).status == 202
        asked_at = clock()

        async def waits() -> bool:
            ((_, state, due_at, lease, attempts),) = await rows(api)
            assert (state, attempts <= 1) == ("waiting", True), "waiting for the server is no try"
            return due_at > clock() and lease is None

        await until(waits)
        while clock() - asked_at < 3_600_000_000:
            clock.step(seconds=80)
            wake(api)
            await until(waits)
        assert (await api.post(path, {"email": "ann@example.com"})).status == 202, "it waits already"
        assert len(await rows(api)) == 1
        async with serving(mailbox, port):
            clock.step(seconds=80)
            await all_sent(api)
            for _ in range(3):
                clock.step(hours=1)
                wake(api)
                await api.get(chatbot)
        ((recipient, mail),) = mailbox.taken
        assert recipient == mail["To"] == "ann@example.com"
        (sender,) = mail["From"].addresses
        assert (sender.display_name, sender.addr_spec) == ("Søren, of the shop", "support@shop.example")
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["Message-ID"].endswith("@shop.example>")
        assert mail["Subject"] == "Your conversation with Superbot"


async def test_what_a_server_refuses_for_good_is_given_up_and_told(tmp_path: Path) -> None:
    clock, mailbox, port = SteppedClock(), Mailbox(), free_port()
    async with serving(mailbox, port), gigachat(tmp_path, clock=clock, **mailing(port)) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        mailbox.answer = "550 No such user"
        await api.post(f"{chatbot}/conversations/c1/transcript", {"email": "ann@example.com"})

        async def is_parked() -> bool:
            clock.step(minutes=20)
            wake(api)
            return str((await rows(api))[0][1]) == "failed"

        await until(is_parked)
        (given_up,) = await api.services.database.read(lambda reader: parked.list_parked(reader, limit=10))
        assert (given_up.kind, "550" in given_up.reason) == ("mail", True)
        mailbox.answer = "451 Later"
        await api.post(f"{chatbot}/conversations/c1/transcript", {"email": "bob@example.com"})

        async def is_put_off() -> bool:
            return any(row[1] == "waiting" and row[2] > clock() for row in await rows(api))

        await until(is_put_off)
        mailbox.answer = "250 OK"
        clock.step(minutes=2)
        wake(api)

        async def is_sent() -> bool:
            return bool(mailbox.taken)

        await until(is_sent)
        assert [recipient for recipient, _ in mailbox.taken] == ["bob@example.com"]


async def test_a_transcript_holds_what_was_said_and_nothing_else(tmp_path: Path) -> None:
    mailbox, port = Mailbox(), free_port()
    async with serving(mailbox, port), gigachat(tmp_path, **mailing(port)) as api:
        chatbot = await api.chatbot(name="Shöp, Bcc: eve@example.com")
        (reply,) = await api.say(chatbot, "Grüße, where is my parcel?", metadata={"secret": "canary"})
        await api.post(f"{chatbot}/conversations/c1/notes", {"content": "canary note"})
        retried = await api.post(f"{chatbot}/conversations/c1/messages/{reply['id']}/retry")
        assert retried.status == 201
        await api.call("PATCH", chatbot, {"interception": {"suggest": True}})
        await api.post(f"{chatbot}/conversations/c1/takeover", {"operator": "eve"})
        await api.say(chatbot, "On its way.\n.\nReally", user="client:eve")
        await api.post(f"{chatbot}/conversations/c1/transcript", {"email": "ann@example.com"})
        await all_sent(api)
        (text,) = mailbox.texts
        text = text.replace("\r\n", "\n")
        assert "Grüße, where is my parcel?" in text
        assert "On its way.\n.\nReally" in text
        assert text.count("Hi.") == 1, "the reply that gave way is left out"
        assert "canary" not in text
        ((recipient, mail),) = mailbox.taken
        assert (recipient, mail["Bcc"]) == ("ann@example.com", None)
        assert mail["Subject"] == "Your conversation with Shöp, Bcc: eve@example.com"


async def test_an_end_user_gets_their_own_at_their_verified_address_alone(tmp_path: Path) -> None:
    mailbox, port = Mailbox(), free_port()
    async with serving(mailbox, port), gigachat(tmp_path, **mailing(port)) as api:
        shop = await people(api)
        alice, bob = shop.token(ALICE, email="alice@example.com"), shop.token(BOB)
        hers, his = await shop.ask(alice), await shop.ask(bob)

        async def send(bearer: str, conversation: str, body: dict[str, Any] | None = None) -> tuple[int, str | None]:
            path = f"/conversations/{conversation}/transcript"
            reply = await shop.post(path, body or {}, bearer=bearer, headers=PAGE)
            return reply.status, None if reply.status < 400 else reply.code

        assert await send(alice, hers, {"email": "eve@example.com"}) == (422, "invalid_request")
        assert (await send(alice, his))[0] == 404
        assert await send(bob, his) == (409, "email_unverified")
        visitor, _ = await shop.visitor()
        assert await send(visitor, await shop.ask(visitor)) == (409, "email_unverified")
        assert await send(alice, hers) == (202, None)
        await all_sent(api)
        assert [recipient for recipient, _ in mailbox.taken] == ["alice@example.com"]
        staff = await api.post(f"{shop.path}/conversations/{hers}/transcript", key=shop.keeper)
        assert staff.status == 202, staff.text
        await all_sent(api)
        assert [recipient for recipient, _ in mailbox.taken] == ["alice@example.com"] * 2


async def test_what_was_deleted_meanwhile_is_not_sent(tmp_path: Path) -> None:
    async with gigachat(tmp_path, clock=SteppedClock(), **mailing(free_port())) as api:
        chatbot = await api.chatbot()
        for name in ("c1", "c2"):
            await api.say(chatbot, "Hello", conversation=name)
            await api.post(f"{chatbot}/conversations/{name}/transcript", {"email": "ann@example.com"})
        await api.call("DELETE", f"{chatbot}/conversations/c1")
        assert len(await rows(api)) == 1
        await api.call("DELETE", chatbot)
        assert await rows(api) == []


async def test_operators_are_told_once_of_whoever_waits_while_they_are_away(tmp_path: Path) -> None:
    clock, mailbox, port = SteppedClock(), Mailbox(), free_port()
    settings = mailing(port) | {"public_url": "https://example.com/chat"}
    async with AsyncExitStack() as opened:
        api = await opened.enter_async_context(gigachat(tmp_path, clock=clock, **settings))
        chatbot, other = await api.chatbot(), await api.chatbot()
        await employ(api, "eve")
        await employ(api, "ann", role="member", of={chatbot: "operator"})
        await employ(api, "bob", role="member", of={other: "operator"})
        left = await employ(api, "left")
        for name in ("c1", "c2"):
            await api.say(chatbot, "I want to talk to a human", conversation=name)
            await api.post(f"{chatbot}/conversations/{name}/handoff")
        await api.post(f"{chatbot}/conversations/c3%2F%3Fx%20%E2%80%A8https%3A%2F%2Fevil.example/handoff")
        assert len(await rows(api)) == 9, "each of three is told of each of three"

        async def all_wait() -> bool:
            return all(due_at > clock() and lease is None for _, _, due_at, lease, _ in await rows(api))

        await until(all_wait)
        await disable(api, left)
        await api.post(f"{chatbot}/conversations/c2/takeover", {"operator": "eve"})
        async with serving(mailbox, port):
            clock.step(minutes=2)
            await all_sent(api)
        links = [text.split("/")[-1].strip() for text in mailbox.texts]
        told = sorted(zip((recipient for recipient, _ in mailbox.taken), links, strict=True))
        waiting = ("c1", "c3%2F%3Fx%20%E2%80%A8https%3A%2F%2Fevil.example")
        assert told == [(f"{name}@example.com", conversation) for name in ("ann", "eve") for conversation in waiting]
        assert all("https://example.com/chat/inbox/" in text for text in mailbox.texts)
        eve = await employ(api, "here")
        await api.services.presence.seen(eve)
        await api.post(f"{chatbot}/conversations/c4/handoff")
        assert await rows(api) == [], "somebody is there"
        closed = await api.chatbot(interception=CLOSED)
        await api.post(f"{closed}/conversations/c1/handoff")
        assert {row[0] for row in await rows(api)} == {"alert"}, "outside the hours it counts for nothing"


async def test_without_a_mail_server_no_mail_waits(tmp_path: Path) -> None:
    async with gigachat(tmp_path) as api:
        chatbot = await api.chatbot(interception=CLOSED)
        await employ(api, "eve")
        await api.say(chatbot, "Hello")
        await api.post(f"{chatbot}/conversations/c1/handoff")
        refused = await api.post(f"{chatbot}/conversations/c1/transcript", {"email": "ann@example.com"})
        assert (refused.status, refused.code) == (503, "mail_missing")
        assert await rows(api) == []


@pytest.mark.parametrize(
    "email", ["x", "a@b@c", "a b@c.example", "a@b.example\nBcc: c@d.example", "ä@example.com", "<a@b.example>"]
)
async def test_odd_addresses_are_refused(tmp_path: Path, email: str) -> None:
    async with gigachat(tmp_path, **mailing(free_port())) as api:
        chatbot = await api.chatbot()
        await api.say(chatbot, "Hello")
        reply = await api.post(f"{chatbot}/conversations/c1/transcript", {"email": email})
        assert (reply.status, reply.fields) == (422, {"email"})


@pytest.mark.parametrize(
    "url",
    ["http://host", "smtp://", "smtp://host/path", "smtp://host?tls=no", "smtp://host:99999", "mail.example.com", "smtp://[::1"],
)
def test_odd_mail_servers_are_refused_at_the_start(url: str) -> None:
    with pytest.raises(SetupError):
        MailServer.parse(url)


def test_mail_servers_are_read_from_urls() -> None:
    assert MailServer.parse("smtp://mail.example.com") == MailServer("mail.example.com", 587, False, "", "")
    assert MailServer.parse("smtps://a%40b:p%2Fw@mail.example.com") == MailServer("mail.example.com", 465, True, "a@b", "p/w")
    for sender in ("", "Support", "support@", "a@b.example\nBcc: c@d.example"):
        with pytest.raises(SetupError):
            Sender("smtp://host", sender)


def test_names_stand_on_one_line() -> None:
    assert one_line("a\r\nBcc: b\u2029c\x00") == "a  Bcc: b c"
    assert one_line("\n") == "-"


async def test_an_invitation_has_a_link_of_its_own(tmp_path: Path) -> None:
    clock, mailbox, port = SteppedClock(), Mailbox(), free_port()
    settings = mailing(port) | {"public_url": "https://example.com/chat"}
    async with gigachat(tmp_path, clock=clock, **settings) as api:
        made = await api.post("/operators", {"email": "eve@example.com", "role": "admin"}, key=await keeper(api))
        assert made.status == 201, made.text
        gone = await api.post("/operators", {"email": "gone@example.com", "role": "admin"}, key=await keeper(api))

        async def all_wait() -> bool:
            found = await rows(api)
            return len(found) == 2 and all(row[2] > clock() and row[3] is None for row in found)

        await until(all_wait)
        assert (await links(api)) == 2, "what was not sent opens nothing"
        assert (await api.call("DELETE", f"/operators/{gone.body['id']}", key=await keeper(api))).status == 204
        async with serving(mailbox, port):
            clock.step(minutes=2)
            await all_sent(api)
        ((recipient, _),) = mailbox.taken
        (link,) = [line for line in mailbox.texts[0].splitlines() if line.startswith("https://example.com/chat/invite?token=")]
        assert recipient == "eve@example.com"
        assert link.rpartition("=")[2] != made.body["invite_url"].rpartition("=")[2]
        assert await api.services.sign_in.invited(link.rpartition("=")[2]) is not None
        again = await api.post(f"/operators/{made.body['id']}/invite", key=await keeper(api))
        assert (again.status, len(await rows(api))) == (201, 1)


async def links(api: Api) -> int:
    row = await api.services.database.read(lambda reader: reader.one("SELECT count(*) FROM one_time_tokens"))
    assert row is not None
    return int(row[0])
