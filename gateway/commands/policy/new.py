"""`gateway policy new`."""

import getpass
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from gateway.commands.policy.common import WRONG, cannot_run
from gateway.domain.errors import ConfigurationError
from gateway.policy.load import decode_files, read_files
from gateway.policy.starter import TEMPLATES, is_set_id, starter

_OWNER: Final = re.compile("[a-z]+:[A-Za-z0-9_.@-]+")


@click.command("new")
@click.argument("name")
@click.option(
    "--template", type=click.Choice(list(TEMPLATES)), default="blank", show_default=True, help="What to begin with."
)
@click.option("--owner", help="Who answers for the set, e.g. `team:credit`. Default: you, as `user:NAME`.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("policies"),
    show_default=True,
    help="Folder of the policies.",
)
def new_command(*, name: str, template: str, owner: str | None, folder: Path) -> None:
    """Write a starter set named NAME with its tests, e.g. `retail/credit`.

    Nothing that exists is overwritten.

    \b
    Example: gateway policy new retail/tax --template topic --owner team:tax
             gateway policy test policies/retail/tax.yaml
    """
    if not is_set_id(name):
        cannot_run(f"`{name}` is no name of a set: use small letters, digits and `-`, as in `retail/credit`")
    answers = owner or f"user:{getpass.getuser()}"
    if _OWNER.fullmatch(answers) is None:
        cannot_run(f"`{answers}` is no owner: write `team:NAME` or `user:NAME`")
    target = folder / f"{name}.yaml"
    taken: list[str] = []
    if folder.exists():
        try:
            sources = decode_files(read_files([folder]), [])
        except ConfigurationError:
            sources = []  # no policies yet: nothing is taken
        if any(source.set.metadata.id == name for source in sources):
            click.echo(f"a set named `{name}` exists already: choose another name")
            sys.exit(WRONG)
        taken = [rule.id for source in sources for rule in source.set.rules]
    text = starter(template, name, owner=answers, today=datetime.now(UTC).date(), taken=taken)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        click.echo(f"`{target}` exists already: choose another name, or remove it")
        sys.exit(WRONG)
    except OSError as error:
        cannot_run(f"`{target}` cannot be written: {(error.strerror or 'unknown').lower()}")
    click.echo(f"wrote {target}: {TEMPLATES[template]}")
    click.echo(f"next: gateway policy lint {folder} && gateway policy test {target}")
