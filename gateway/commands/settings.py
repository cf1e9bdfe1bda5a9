"""`gateway settings`: what can be configured."""

import click

from gateway.settings import settings_reference


@click.command("settings")
def settings_command() -> None:
    """Print every setting with its type, default and meaning (Markdown)."""
    click.echo(settings_reference())
