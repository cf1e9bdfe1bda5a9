"""Who is told of a case by webhook, chat and mail, with what words, and what becomes of a call that fails."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import structs
from support.server import free_port

from gateway.cases import Announcer, Channel, ChatCarrier, Courier, Interest, MailCarrier, MailList, Webhook
from gateway.cases.announce import BLIND_REVIEW, payload_of
from gateway.cases.case import CaseState
from gateway.cases.chat import chat_text
from gateway.cases.drill import drill_principal, is_sampled
from gateway.cases.mail import message_of
from gateway.cases.store import Notice
from gateway.cases.terms import new_case
from gateway.cases.webhooks import WebhookCarrier, signature, verified
from gateway.domain.event import EventType
from gateway.domain.text import Secret

KEY = bytes(range(32))
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
CONSOLE = "https://gateway.bank.example/console"
HOOK = Webhook(name="hook", url="http://x/", secret=Secret("s"))
CHAT = Channel(name="chat", url=Secret("http://x/"))
MAILS = MailList(
    name="mail",
    to=("ruth@bank.example", "ravi@bank.example"),
    sender="gateway@bank.example",
    host="127.0.0.1",
    port=25,
    security="none",
)


@pytest.fixture
def case(draft):
    return new_case("case_1", draft(), KEY)


def told(case, kind: EventType, *audiences, share: float = 0.0) -> list[str]:
    announce = Announcer(audiences or (HOOK, CHAT, MAILS), iter("abcdefgh").__next__, key=KEY, blind_share=share)
    return [notice.target for notice in announce(case, kind, NOW)]


ALL = ["hook", "chat:chat", "mail:mail"]


@pytest.mark.parametrize(
    ("kind", "state", "targets"),
    [
        (EventType.CASE_OPENED, CaseState.QUEUED, ALL),
        (EventType.CASE_CLAIMED, CaseState.IN_REVIEW, []),
        (EventType.CASE_APPROVED, CaseState.APPROVED, ["hook"]),
        (EventType.CASE_APPROVED, CaseState.AWAIT_SECOND, ALL),
        (EventType.CASE_REFUSED, CaseState.ADJUDICATION, ALL),
        (EventType.CASE_OVERDUE, CaseState.QUEUED, ALL),
        (EventType.CASE_OVERDUE, CaseState.REFUSED, ["hook"]),
        (EventType.CASE_APPEALED, CaseState.APPEALED, ALL),
        (EventType.CASE_BREAK_GLASS, CaseState.APPROVED, ALL),
        (EventType.CASE_DELIVERED, CaseState.DELIVERED, ["hook"]),
    ],
)
def test_programs_hear_of_changes_and_people_of_what_waits_for_them(case, kind, state, targets) -> None:
    assert told(structs.replace(case, state=state), kind) == targets


def test_each_hears_of_their_apps_and_queues(case) -> None:
    for interest, hears in [
        (Interest(queues=("credit",)), True),
        (Interest(queues=("other",)), False),
        (Interest(apps=("loans",), queues=("credit", "x")), True),
        (Interest(apps=("other",)), False),
    ]:
        audience = structs.replace(CHAT, interest=interest)
        assert bool(told(case, EventType.CASE_OPENED, audience)) is hears


def test_a_drill_looks_like_any_case_to_people_and_is_unknown_to_programs(case) -> None:
    drill = structs.replace(case, principal=drill_principal(case.id, KEY))
    assert told(drill, EventType.CASE_OPENED) == ["chat:chat", "mail:mail"]
    approved = structs.replace(drill, state=CaseState.APPROVED)
    assert told(approved, EventType.CASE_APPROVED, share=1.0) == [], "a second look gets no third one"


def test_a_share_of_the_decided_cases_gets_a_second_look(case) -> None:
    approved = structs.replace(case, state=CaseState.APPROVED)
    assert told(approved, EventType.CASE_APPROVED, HOOK, share=1.0) == ["hook", BLIND_REVIEW]
    assert told(approved, EventType.CASE_DELIVERED, HOOK, share=1.0) == ["hook"]
    assert told(structs.replace(case, state=CaseState.AWAIT_SECOND), EventType.CASE_APPROVED, HOOK, share=1.0) == [
        "hook"
    ]
    sampled = sum(is_sampled(f"case_{number}", 0.1, KEY) for number in range(2_000))
    assert 140 < sampled < 260
    assert not is_sampled("case_1", 0.0, KEY)


def notice_of(case, kind: EventType = EventType.CASE_OPENED) -> Notice:
    return Notice(id="msg_1", target="t", payload=payload_of(case, kind, NOW), next_at=NOW)


def test_a_chat_message_has_the_case_its_queue_its_due_time_and_a_link(case) -> None:
    text = chat_text(notice_of(structs.replace(case, queue="a<b&c")), CONSOLE)
    assert text == (
        f"A case waits for a decision: queue a&lt;b&amp;c, due 2026-11-24 11:00 UTC. <{CONSOLE}/cases/case_1|case_1>"
    )
    assert chat_text(notice_of(case), "").endswith(" UTC. case_1")


def test_a_mail_says_the_same_and_is_known_again(case) -> None:
    message = message_of(notice_of(case, EventType.CASE_OVERDUE), MAILS, CONSOLE)
    assert message["Subject"] == "[gateway] A case is late and was passed on: queue credit, due 2026-11-24 11:00 UTC"
    assert (message["To"], message["From"]) == ("ruth@bank.example, ravi@bank.example", "gateway@bank.example")
    assert message["Message-ID"] == "<msg_1@answer-gateway.invalid>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert f"{CONSOLE}/cases/case_1" in message.get_content()
    assert "canary" not in message.as_string()


class Inbox:
    """Takes mails as an SMTP server does."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.tls: list[bool] = []
        self.refuse = False

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802 -- aiosmtpd's name
        if self.refuse:
            return "451 try again later canary"
        self.mails.append(envelope.content)
        self.tls.append(session.ssl is not None)
        return "250 taken"


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> tuple[ssl.SSLContext, Path]:
    cert, key = certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context, cert


def authenticator(server, session, envelope, mechanism, given) -> AuthResult:
    right = isinstance(given, LoginPassword) and (given.login, given.password) == (b"gw", b"right")
    return AuthResult(success=right, handled=False)


def serving(inbox: Inbox, **more) -> Controller:
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), server_hostname="localhost", **more)
    controller.start()
    return controller


def carried(controller: Controller, case, **changes) -> bool:
    port = controller.server.sockets[0].getsockname()[1]
    mails = structs.replace(MAILS, **{"host": "localhost", "port": port, **changes})
    return asyncio.run(MailCarrier(mails, console_url=CONSOLE, timeout_s=5).carry(notice_of(case)))


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def test_a_mail_arrives_over_starttls_with_a_password(case, inbox, tls) -> None:
    context, cert = tls
    controller = serving(inbox, tls_context=context, authenticator=authenticator, auth_required=True)
    try:
        given = {"security": "starttls", "ca_file": str(cert), "username": "gw"}
        assert carried(controller, case, **given, password=Secret("right"))
        assert not carried(controller, case, **given, password=Secret("wrong"))
        assert not carried(controller, case, **{**given, "ca_file": ""}, password=Secret("right")), "an unknown server"
    finally:
        controller.stop()
    (mail,) = inbox.mails
    assert inbox.tls == [True]
    assert message_from_bytes(mail, policy=policy.default)["Subject"].startswith("[gateway] A case waits")


def test_no_mail_goes_in_the_clear_where_tls_was_asked_for(case, inbox) -> None:
    controller = serving(inbox)
    try:
        assert not carried(controller, case, security="starttls")
        assert not carried(controller, case, security="tls")
        assert carried(controller, case, security="none")
        inbox.refuse = True
        assert not carried(controller, case, security="none")
    finally:
        controller.stop()
    assert len(inbox.mails) == 1


def test_a_mail_arrives_over_tls(case, inbox, tls) -> None:
    context, cert = tls
    controller = serving(inbox, ssl_context=context)
    try:
        assert carried(controller, case, security="tls", ca_file=str(cert))
    finally:
        controller.stop()
    assert len(inbox.mails) == 1


class Receiver:
    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], str]] = []
        self.status = 200
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                received.calls.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(received.status)
                self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.mark.parametrize(("status", "taken"), [(200, True), (204, True), (302, False), (404, False), (500, False)])
async def test_a_chat_channel_gets_a_text(case, receiver, status, taken) -> None:
    receiver.status = status
    carrier = ChatCarrier(structs.replace(CHAT, url=Secret(receiver.url)), console_url=CONSOLE, timeout_s=2)
    assert await carrier.carry(notice_of(case)) is taken
    ((_, body),) = receiver.calls
    assert set(json.loads(body)) == {"text"}
    assert "canary" not in body


async def test_a_receiver_tells_a_genuine_call_from_a_replayed_or_forged_one(case, receiver) -> None:
    hook = structs.replace(HOOK, url=receiver.url)
    notice = notice_of(case)
    assert await WebhookCarrier(hook, timeout_s=2, clock=lambda: NOW).carry(notice)
    ((headers, body),) = receiver.calls

    def taken(secret: str = "s", *, after: timedelta = timedelta(0), payload: str = body, **changed: str) -> str:
        given = headers | {name.replace("_", "-"): value for name, value in changed.items()}
        return verified(Secret(secret), given, payload, now=NOW + after)

    assert taken() == "msg_1"
    assert taken(after=timedelta(minutes=5)) == "msg_1"
    assert taken(after=timedelta(minutes=5, seconds=1)) == "", "an old call, sent again"
    assert taken(after=-timedelta(minutes=6)) == ""
    assert taken("other") == ""
    assert taken(payload=body.replace("queued", "approved")) == ""
    assert taken(webhook_id="msg_2") == ""
    assert taken(webhook_timestamp="soon") == ""
    rotated = f"v1,old {headers['webhook-signature']}"
    assert taken(webhook_signature=rotated) == "msg_1"
    assert signature(Secret("s"), "msg_1", headers["webhook-timestamp"], body) == headers["webhook-signature"]


class Deaf:
    def __init__(self) -> None:
        self.tried: list[str] = []

    async def carry(self, notice: Notice) -> bool:
        self.tried.append(notice.id)
        return False


class Hearing(Deaf):
    async def carry(self, notice: Notice) -> bool:
        return not await super().carry(notice)


async def test_a_target_that_fails_holds_up_nobody_else_and_is_tried_again_less_and_less_often(
    store, draft, case
) -> None:
    notices = tuple(
        Notice(id=f"{target}{n}", target=target, payload="{}", next_at=NOW)
        for target in ("deaf", "ears", "gone")
        for n in (1, 2)
    )
    await store.add(case, draft(), notices=notices)
    now = NOW
    deaf, ears = Deaf(), Hearing()
    courier = Courier(store, {"deaf": deaf, "ears": ears}, attempts=3, clock=lambda: now)
    await courier.carry_due()
    assert (deaf.tried, sorted(ears.tried)) == (["deaf1"], ["ears1", "ears2"])
    left = {notice.id: (notice.attempts, notice.next_at) for notice in await store.notices(NOW + timedelta(days=1))}
    assert left == {"deaf1": (1, NOW + timedelta(seconds=5)), "deaf2": (0, NOW)}
    for seconds in (5, 30, 120):
        now = NOW + timedelta(seconds=seconds)
        await courier.carry_due()
        await courier.carry_due()
    assert deaf.tried.count("deaf1") == 3
    assert deaf.tried.count("deaf2") == 3
    assert await store.notices(NOW + timedelta(days=9)) == [], "given up after three attempts"
