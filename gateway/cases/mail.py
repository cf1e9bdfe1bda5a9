"""Tells reviewers by e-mail of cases that wait: the case's id, its queue, when it is due and a link; nothing else.

Sent over SMTP (RFC 5321) with STARTTLS or TLS, the server's certificate checked.
"""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final, Literal

import structlog
from msgspec import Struct

from gateway.cases.announce import Interest, link, needs_reviewer, read_payload, sentence
from gateway.cases.case import Case
from gateway.cases.store import Notice
from gateway.domain.event import EventType
from gateway.domain.text import Secret

_log = structlog.get_logger("gateway.cases")
_UNFOLDED: Final = SMTP.clone(max_line_length=500)  # a subject that is folded shows its fold in some programs
_DOMAIN: Final = "answer-gateway.invalid"  # RFC 6761: no host, so nobody else makes the same message id


class MailList(Struct, frozen=True, kw_only=True):
    """People who get mails (`announce.Audience`), and the server that takes them. `password` is `None` for a server
    that asks for none."""

    name: str
    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    ca_file: str = ""
    username: str = ""
    password: Secret | None = None
    interest: Interest = Interest()

    @property
    def target(self) -> str:
        return f"mail:{self.name}"

    def hears(self, case: Case, kind: EventType, *, drill: bool) -> bool:  # noqa: ARG002 -- drills wait like any case
        return needs_reviewer(case, kind) and self.interest.includes(case)


class MailCarrier:
    """Sends to one list (`courier.Carrier`), in a thread."""

    def __init__(self, mails: MailList, *, console_url: str, timeout_s: float) -> None:
        self._mails = mails
        self._console_url = console_url
        self._timeout_s = timeout_s

    async def carry(self, notice: Notice) -> bool:
        try:
            await asyncio.to_thread(self._send, message_of(notice, self._mails, self._console_url))
        except (smtplib.SMTPException, OSError, ValueError) as error:  # a reply of the server may quote: only its kind
            _log.warning("mail_failed", target=self._mails.target, error=type(error).__name__)
            return False
        return True

    def _send(self, message: EmailMessage) -> None:
        mails = self._mails
        tls = ssl.create_default_context(cafile=mails.ca_file or None)
        if mails.security == "tls":
            with smtplib.SMTP_SSL(mails.host, mails.port, timeout=self._timeout_s, context=tls) as server:
                self._hand_over(server, message)
            return
        with smtplib.SMTP(mails.host, mails.port, timeout=self._timeout_s) as server:
            if mails.security == "starttls":
                server.starttls(context=tls)  # raises for a server that does not offer it
            self._hand_over(server, message)

    def _hand_over(self, server: smtplib.SMTP, message: EmailMessage) -> None:
        if self._mails.password is not None:
            server.login(self._mails.username, self._mails.password.reveal())
        server.send_message(message)  # raises only if every recipient is refused


def message_of(notice: Notice, mails: MailList, console_url: str) -> EmailMessage:
    """The mail. Its id is the notice's, so that one that comes twice is known as the same."""
    payload = read_payload(notice.payload)
    message = EmailMessage(_UNFOLDED)
    message["Subject"] = f"[gateway] {sentence(payload)}"
    message["From"] = mails.sender
    message["To"] = ", ".join(mails.to)
    message["Date"] = format_datetime(payload.timestamp)
    message["Message-ID"] = f"<{notice.id}@{_DOMAIN}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
    url = link(console_url, payload.data.case)
    lines = [f"{sentence(payload)}.", "", f"Case: {payload.data.case}", *([f"Open it: {url}"] if url else [])]
    message.set_content("\n".join([*lines, "", "This mail holds nothing of the request or its answer."]))
    return message
