"""E-mail over SMTP as a tool: sent at most once.

SMTP can't be asked what it has done, so a mail is `irreversible`.  All that goes wrong before the
server has the whole text is a failure in which nothing was sent; from then on, without the server's
answer, nobody knows.  The Message-ID is made of the effect's key, so that whoever looks can tell.
"""

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from hashlib import sha256
from typing import Final, Literal

from orlop.abi.cards import Approval, ToolCard
from orlop.abi.errors import BadCall, DeviceBusy, DeviceFailed, Misconfigured, ToolFailed
from orlop.abi.limits import MAIL_RECIPIENTS_MAX
from orlop.machine.clock import NS_PER_S, Clock
from orlop.machine.credential import KeyConfig, hidden
from orlop.machine.offload import Offload
from orlop.machine.ranges import Limit

ADDRESS: Final = {"type": "string", "pattern": '^[^@\\s<>,;"]+@[^@\\s<>,;"]+$', "maxLength": 254}
PARAMETERS: Final[dict[str, object]] = {
    "type": "object",
    "required": ["to", "subject", "text"],
    "additionalProperties": False,
    "properties": {
        "to": {"type": "array", "items": ADDRESS, "minItems": 1, "maxItems": MAIL_RECIPIENTS_MAX},
        "subject": {"type": "string", "maxLength": 998, "pattern": "^[^\\r\\n]*$"},
        "text": {"type": "string"},
        "reply_to": ADDRESS,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailConfig(KeyConfig):
    """One `[mail.NAME]` table of orlop.toml: a tool called `NAME.send`."""

    host: str
    """The SMTP server."""
    sender: str
    """The address that mails come from."""
    port: int = 587
    """587 and 25 begin in the clear, 465 under TLS."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`none` is for servers on this machine."""
    user: str = ""
    """Who logs in; empty: nobody."""
    recipients: tuple[str, ...] = ()
    """The only addresses, or domains as in `@example.com`, that may be written to; empty: any."""
    approval: Approval = "never"
    """`always`: a person must agree to each mail, and sees it."""
    timeout_s: Limit = 60.0
    """How long the server may take for each of its answers."""
    system: str = ""
    """The external system whose limits its calls share; by default the name of this table."""


def check(servers: Mapping[str, MailConfig]) -> None:
    """Raises `Misconfigured`."""
    for name, config in servers.items():
        if "@" not in config.sender:
            raise Misconfigured(f"[mail.{name}] sender: {config.sender!r} is no address")
        if config.user and config.tls == "none":
            raise Misconfigured(f"[mail.{name}] tls: a password is not sent in the clear")
        config.key(f"[mail.{name}]")


class MailTool:
    """One SMTP server."""

    def __init__(self, name: str, config: MailConfig, clock: Clock, offload: Offload) -> None:
        self._config = config
        self._clock = clock
        self._offload = offload
        self._password = config.key(f"[mail.{name}]")
        self.card = ToolCard(
            name=f"{name}.send",
            description="Send an e-mail.",
            parameters=PARAMETERS,
            effect="irreversible",
            timeout_s=4 * config.timeout_s,
            concurrency=1,
            approval=config.approval,
            system=config.system or name,
        )

    async def call(self, arguments: Mapping[str, object], key: str, deadline_s: float) -> object:
        """The mail's Message-ID.  Raises `ToolFailed` and `DeviceBusy` where nothing was sent, and
        `DeviceFailed` where nobody knows."""
        recipients, message = self._message(arguments, key)
        await self._offload(self._send, recipients, message)
        return {"message_id": message["Message-ID"], "recipients": len(recipients)}

    async def happened(self, key: str) -> bool | None:
        return None

    def _message(self, arguments: Mapping[str, object], key: str) -> tuple[list[str], EmailMessage]:
        to = arguments.get("to")
        recipients = [str(one) for one in to] if isinstance(to, list) else []
        allowed = self._config.recipients
        for one in recipients:
            domain = "@" + one.rpartition("@")[2].lower()
            if allowed and one not in allowed and domain not in allowed:
                raise ToolFailed(f"mails to {one} are not allowed here (recipients)")
        message = EmailMessage()
        try:
            message["From"], message["To"] = self._config.sender, ", ".join(recipients)
            message["Subject"] = str(arguments.get("subject", ""))
            if "reply_to" in arguments:
                message["Reply-To"] = str(arguments["reply_to"])
        except ValueError as error:
            raise BadCall(f"a header can't be written: {error}") from error
        message["Date"] = formatdate(self._clock.wall_ns() / NS_PER_S)
        domain = self._config.sender.rpartition("@")[2]
        message["Message-ID"] = f"<{sha256(key.encode()).hexdigest()[:40]}@{domain}>"
        message.set_content(str(arguments.get("text", "")))
        return recipients, message

    def _send(self, recipients: list[str], message: EmailMessage) -> None:
        server = self._greeted()
        try:
            self._offered(server, recipients)
        except BaseException:
            server.close()
            raise
        try:
            code, said = server.data(message.as_bytes())
        except smtplib.SMTPDataError as error:
            raise ToolFailed(f"the server refused the text: {_said(error)}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise DeviceFailed(f"the server was lost while it had the mail: {error}") from error
        finally:
            server.close()
        if code != 250:
            raise ToolFailed(f"the server refused the mail: {code} {said.decode(errors='replace')}")

    def _greeted(self) -> smtplib.SMTP:
        """Connected, under TLS, logged in.  Raises `DeviceBusy`, `ToolFailed`: nothing was sent."""
        config = self._config
        try:
            if config.tls == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    config.host,
                    config.port,
                    timeout=config.timeout_s,
                    context=ssl.create_default_context(),
                )
            else:
                server = smtplib.SMTP(config.host, config.port, timeout=config.timeout_s)
        except (smtplib.SMTPException, OSError) as error:
            raise DeviceBusy(f"{config.host} can't be reached: {error}") from error
        try:
            if config.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if config.user:
                server.login(config.user, self._password)
        except (smtplib.SMTPException, OSError) as error:
            server.close()
            said = hidden(str(error), self._password)
            raise ToolFailed(f"{config.host} lets nobody in: {said}") from error
        return server

    def _offered(self, server: smtplib.SMTP, recipients: list[str]) -> None:
        """All recipients or none: half a mail could not be made whole without a second one."""
        try:
            server.ehlo_or_helo_if_needed()
            code, said = server.mail(self._config.sender)
            for one in recipients:
                if code == 250:
                    code, said = server.rcpt(one)
                    code = 250 if code == 251 else code
            if code != 250:
                text = said.decode(errors="replace")
                server.rset()
                if 400 <= code < 500:
                    raise DeviceBusy(f"the server wants to be asked later: {code} {text}")
                raise ToolFailed(f"the server refused: {code} {text}")
        except (smtplib.SMTPException, OSError) as error:
            raise DeviceBusy(f"the server was lost before it had the mail: {error}") from error


def _said(error: smtplib.SMTPDataError) -> str:
    text = error.smtp_error
    return f"{error.smtp_code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
