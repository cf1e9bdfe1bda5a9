"""Tells a chat channel of cases that wait, in the form that Slack and those compatible with it take: an incoming
webhook with a `text`. The address is a secret: whoever knows it can post."""

import aiohttp
import msgspec
from msgspec import Struct

from gateway.cases.announce import Interest, link, needs_reviewer, read_payload, sentence
from gateway.cases.case import Case
from gateway.cases.store import Notice
from gateway.cases.webhooks import post
from gateway.domain.event import EventType
from gateway.domain.text import Secret


class Channel(Struct, frozen=True, kw_only=True):
    """A channel (`announce.Audience`)."""

    name: str
    url: Secret
    interest: Interest = Interest()

    @property
    def target(self) -> str:
        return f"chat:{self.name}"

    def hears(self, case: Case, kind: EventType, *, drill: bool) -> bool:  # noqa: ARG002 -- drills wait like any case
        return needs_reviewer(case, kind) and self.interest.includes(case)


class ChatCarrier:
    """Posts to one channel (`courier.Carrier`)."""

    def __init__(self, channel: Channel, *, console_url: str, timeout_s: float) -> None:
        self._channel = channel
        self._console_url = console_url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def carry(self, notice: Notice) -> bool:
        body = msgspec.json.encode({"text": chat_text(notice, self._console_url)}).decode()
        return await post(self._channel.url.reveal(), body, {"content-type": "application/json"}, self._timeout)


def chat_text(notice: Notice, console_url: str) -> str:
    """The message, in Slack's `mrkdwn`, whose three special characters are escaped."""
    payload = read_payload(notice.payload)
    case, url = payload.data.case, link(console_url, payload.data.case)
    return f"{_escaped(sentence(payload))}. {f'<{url}|{case}>' if url else case}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
