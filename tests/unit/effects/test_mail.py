"""Mails to a real SMTP server: sent, refused, or of unknown fate, and each said truthfully."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from orlop.abi.errors import DeviceBusy, DeviceFailed, Misconfigured, ToolFailed
from orlop.effects.mail import MailConfig, MailTool, check
from orlop.machine.clock import SystemClock
from orlop.machine.offload import ThreadOffload
from orlop.tools.schema import Schema

MAIL = {"to": ["ada@example.com"], "subject": "Hello", "text": "Your parcel is on its way."}


class Office:
    """What the server got, and how it answers."""

    def __init__(self, recipient: str = "250 OK", data: str = "250 OK") -> None:
        self.got: list[Envelope] = []
        self._recipient = recipient
        self._data = data

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self._recipient

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self._data == "hang up":
            self.got.append(envelope)
            assert server.transport is not None
            server.transport.close()
            await asyncio.sleep(3600)
        if self._data.startswith("250"):
            self.got.append(envelope)
        return self._data


@asynccontextmanager
async def server(office: Office) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: SMTP(office, hostname="mx"), "127.0.0.1", 0)
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()


def send(
    office: Office, *keys: str, mail: dict[str, object] | None = None, **how: object
) -> list[object]:
    async def whole() -> list[object]:
        async with server(office) as port:
            config = MailConfig(
                host="127.0.0.1",
                port=port,
                tls="none",
                sender="shop@example.com",
                timeout_s=5,
                **how,  # type: ignore[arg-type]
            )
            offload = ThreadOffload("mail")
            tool = MailTool("post", config, SystemClock(), offload)
            try:
                return [await tool.call(mail or MAIL, key, 20) for key in keys]
            finally:
                offload.close()

    return asyncio.run(whole())


def test_a_mail_arrives_and_its_message_id_is_its_effects_name() -> None:
    office = Office()
    first, second, other = send(office, "cal_1", "cal_1", "cal_2")
    assert first == second != other
    assert isinstance(first, dict) and first["recipients"] == 1
    content = office.got[0].content
    assert isinstance(content, bytes)
    text = content.decode()
    assert f"Message-ID: {first['message_id']}" in text and "Your parcel" in text
    assert office.got[0].mail_from == "shop@example.com"


def test_a_server_that_refuses_a_recipient_has_sent_nothing() -> None:
    office = Office(recipient="550 no such user")
    with pytest.raises(ToolFailed, match="550 no such user"):
        send(office, "cal_1")
    assert office.got == []


def test_a_server_that_wants_to_be_asked_later_has_sent_nothing() -> None:
    with pytest.raises(DeviceBusy, match="asked later"):
        send(Office(recipient="450 try again"), "cal_1")


def test_a_server_that_refuses_the_text_has_sent_nothing() -> None:
    with pytest.raises(ToolFailed, match="554 spam"):
        send(Office(data="554 spam"), "cal_1")


def test_a_server_that_is_lost_with_the_mail_leaves_its_fate_unknown() -> None:
    office = Office(data="hang up")
    with pytest.raises(DeviceFailed, match="lost while it had the mail") as lost:
        send(office, "cal_1")
    assert not isinstance(lost.value, ToolFailed | DeviceBusy)


def test_a_server_that_is_not_there_has_sent_nothing() -> None:
    async def whole() -> None:
        config = MailConfig(host="127.0.0.1", port=1, tls="none", sender="a@b.c")
        tool = MailTool("post", config, SystemClock(), ThreadOffload("mail"))
        with pytest.raises(DeviceBusy, match="can't be reached"):
            await tool.call(MAIL, "cal_1", 20)

    asyncio.run(whole())


@pytest.mark.parametrize(
    "mail",
    [
        {**MAIL, "subject": "x\r\nBcc: everybody@example.com"},
        {**MAIL, "to": ["a@b.c\r\nBcc: x@y.z"]},
        {**MAIL, "to": ["a@b.c, d@e.f"]},
        {**MAIL, "to": []},
        {**MAIL, "bcc": ["x@y.z"]},
    ],
)
def test_headers_can_not_be_smuggled_in(mail: dict[str, object]) -> None:
    config = MailConfig(host="x", sender="a@b.c")
    tool = MailTool("post", config, SystemClock(), ThreadOffload("mail"))
    assert Schema(tool.card.parameters).wrong(mail)


def test_mails_go_to_those_only_who_are_allowed() -> None:
    office = Office()
    with pytest.raises(ToolFailed, match="not allowed"):
        send(
            office, "cal_1", mail={**MAIL, "to": ["x@elsewhere.com"]}, recipients=("@example.com",)
        )
    send(office, "cal_1", recipients=("@example.com",))
    assert len(office.got) == 1


def test_a_password_is_not_sent_in_the_clear() -> None:
    with pytest.raises(Misconfigured, match="in the clear"):
        check({"post": MailConfig(host="x", sender="a@b.c", user="u", tls="none")})
