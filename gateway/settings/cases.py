"""Settings of escalation: where cases stand, who is told, how late ones go on, how their review is measured."""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

_Count = Annotated[int, Meta(ge=1)]
_Seconds = Annotated[float, Meta(gt=0)]
_Name = Annotated[str, Meta(min_length=1, max_length=200)]


def _about(text: str) -> Meta:
    return Meta(description=text)


class ClientMode(StrEnum):
    """What a client sees of a request that a human must decide."""

    BLOCK_MODE = "block_mode"  # as `block_mode` says of all stops
    HOLD = "hold"  # 200, `finish_reason: content_filter`, a notice that names the case
    ERROR = "error"  # 403, `error.code: human_review_required`
    WAIT = "wait"  # the connection is held until a human has decided; then the answer, or the notice


class EscalationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the clients of one app see of an escalation."""

    client: Annotated[
        ClientMode,
        _about("`hold` a notice; `error` 403; `wait` until a human decides; `block_mode` notice or error as that says"),
    ] = ClientMode.BLOCK_MODE
    # A silent connection lives about a minute behind most proxies; only streams can be kept alive by comments.
    wait_s: Annotated[
        float, Meta(gt=0, le=3600), _about("`wait`: how long the connection is held before the notice")
    ] = 50.0


class QueueSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a late case of one queue, and who is there for it; the key names the queue."""

    next: Annotated[str, _about("queue that a late case goes to; empty refuses it")] = ""
    next_sla_s: Annotated[_Count, _about("how long that queue has")] = 4 * 3600
    staffed_hours_per_day: Annotated[
        float, Meta(ge=0), _about("hours that all reviewers of the queue together give it a day; 0: not known")
    ] = 0.0


class WebhookSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who is told of every change of a case, without its content."""

    name: Annotated[_Name, _about("the webhook's name; unique")]
    url: Annotated[_Name, _about("address that gets a POST for every change")]
    secret: Annotated[_Name, _about("`env:NAME` or `file:/path` of the key that signs calls; a literal one is refused")]
    apps: Annotated[tuple[str, ...], _about("apps whose cases it hears of; `*` stands for all")] = ("*",)
    queues: Annotated[tuple[str, ...], _about("queues whose cases it hears of; `*` stands for all")] = ("*",)


class SlackSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chat channel that is told of cases that wait for somebody, by a Slack-compatible incoming webhook."""

    name: Annotated[_Name, _about("the channel's name; unique")]
    url: Annotated[_Name, _about("`env:NAME` or `file:/path` of the webhook's address, which is a secret")]
    apps: Annotated[tuple[str, ...], _about("apps whose cases it hears of; `*` stands for all")] = ("*",)
    queues: Annotated[tuple[str, ...], _about("queues whose cases it hears of; `*` stands for all")] = ("*",)


class MailSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People who get an e-mail for cases that wait for somebody."""

    name: Annotated[_Name, _about("the list's name; unique")]
    to: Annotated[tuple[_Name, ...], Meta(min_length=1), _about("addresses of the reviewers")]
    sender: Annotated[_Name, _about("address that the mails come from")]
    host: Annotated[_Name, _about("SMTP server")]
    port: Annotated[int, Meta(ge=1, le=65_535), _about("its port")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"], _about("`none` only to a server on the same machine or in a test")
    ] = "starttls"
    ca_file: Annotated[str, _about("certificates that the server's must come from; empty for the system's")] = ""
    username: Annotated[str, _about("name to sign in with; empty sends without")] = ""
    password: Annotated[str, _about("`env:NAME` or `file:/path`; a literal one is refused")] = ""
    apps: Annotated[tuple[str, ...], _about("apps whose cases they hear of; `*` stands for all")] = ("*",)
    queues: Annotated[tuple[str, ...], _about("queues whose cases they hear of; `*` stands for all")] = ("*",)


class TeamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who belongs to a team that owns policies, and so does not review what these policies stop."""

    name: Annotated[_Name, _about("the team as policies write it, without `team:`")]
    groups: Annotated[
        tuple[str, ...], _about("groups of its members; a team that is not listed is the group of its name")
    ]


class QualitySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the review itself is looked at."""

    blind_share: Annotated[
        float, Meta(ge=0, le=1), _about("share of the decided cases that a second reviewer decides again, unseen")
    ] = 0.0
    window_days: Annotated[_Count, _about("days that the figures and the alarm look back")] = 30
    alarm_approvals: Annotated[
        float, Meta(gt=0, le=1), _about("alarm if more than this share of a reviewer's decisions approve …")
    ] = 0.99
    alarm_dwell_s: Annotated[_Seconds, _about("… and half of them took less than this")] = 5.0
    # Below that a run of plain cases would look like a habit.
    alarm_decisions: Annotated[_Count, _about("fewest decisions that can raise the alarm")] = 30


class CaseSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Escalated cases."""

    store: Annotated[
        Literal["sqlite", "postgres"], _about("`sqlite` in the data folder of one node; `postgres` shared by nodes")
    ] = "sqlite"
    postgres_url: Annotated[
        str, _about("`env:NAME` or `file:/path` of the connection string; `store: postgres` needs it")
    ] = ""
    lease_s: Annotated[_Count, _about("how long a reviewer's claim keeps others away")] = 15 * 60
    tick_s: Annotated[_Seconds, _about("how often late cases and due announcements are looked for")] = 5.0
    appeal_s: Annotated[_Count, _about("how long after a refusal or delivery its requester may appeal")] = 7 * 86_400
    post_review_s: Annotated[_Count, _about("by when a broken glass must have been looked at")] = 86_400
    queues: dict[str, QueueSettings] = {}
    teams: tuple[TeamSettings, ...] = ()
    quality: QualitySettings = field(default_factory=QualitySettings)
    webhooks: tuple[WebhookSettings, ...] = ()
    slack: tuple[SlackSettings, ...] = ()
    mail: tuple[MailSettings, ...] = ()
    console_url: Annotated[str, _about("address of the console, for links in mails and chats")] = ""
    webhook_timeout_s: Annotated[_Seconds, _about("until a webhook or mail server must have answered")] = 10.0
    # With doubling pauses from 5 s to 1 h this is about a day.
    webhook_attempts: Annotated[_Count, _about("calls until a webhook or mail that fails is given up")] = 32
