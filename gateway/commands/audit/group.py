"""`gateway audit`: verify, prove, read and export the audit log. Works beside a running gateway."""

import click

from gateway.commands.audit.bodies import body, body_keys
from gateway.commands.audit.break_glass import break_glass_command
from gateway.commands.audit.erasure import erase, hold, retention
from gateway.commands.audit.read import export, show
from gateway.commands.audit.rollup import retire_command, rollup_command
from gateway.commands.audit.seal import seal_command
from gateway.commands.audit.search import reindex, search, stats, timeline
from gateway.commands.audit.sinks import sinks_command
from gateway.commands.audit.verify import prove, verify


@click.group("audit")
def audit() -> None:
    """Verify, read and export the audit log."""


for _command in (
    body,
    body_keys,
    erase,
    hold,
    retention,
    break_glass_command,
    export,
    prove,
    reindex,
    retire_command,
    rollup_command,
    seal_command,
    search,
    show,
    sinks_command,
    stats,
    timeline,
    verify,
):
    audit.add_command(_command)
