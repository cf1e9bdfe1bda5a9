"""What the commands of `gateway sources` share."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, TypeVar

import click

from gateway.domain.errors import GatewayError

if TYPE_CHECKING:
    from gateway.assembly.sources import SourceDesk

T = TypeVar("T")
OpenDesk = Callable[[], "AbstractAsyncContextManager[SourceDesk]"]

_REASON: Final = re.compile(r"\w[\w .:/#-]{1,79}")  # as for cases: it stays readable in the log
_NAME: Final = re.compile(r"[\w.@:-]{1,200}")

tenant_option = click.option("--tenant", default="", help="Whose documents; the only tenant's if none.")
text_or_json = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


def _checked(pattern: re.Pattern[str], message: str) -> Callable[[click.Context, click.Parameter, str], str]:
    def check(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
        if not pattern.fullmatch(value):
            raise click.BadParameter(message)
        return value

    return check


who = click.option(
    "--by", required=True, callback=_checked(_NAME, "a name is letters, digits and `.@:-_`"), help="Who acts."
)
why = click.option(
    "--reason",
    required=True,
    callback=_checked(_REASON, "a reason is a code, a ticket or a few plain words"),
    help="Code, ticket or few words; the audit log keeps it.",
)


def at_desk(context: click.Context, work: "Callable[[SourceDesk], Awaitable[T]]") -> T:
    """Run `work` with the desk of the settings; a `GatewayError` ends the command with one line and exit code 1."""
    open_desk: OpenDesk = context.obj["sources"]

    async def run() -> T:
        async with open_desk() as desk:
            return await work(desk)

    try:
        return asyncio.run(run())
    except GatewayError as error:
        raise click.ClickException(error.message) from error
