"""`gateway audit seal`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.audit.segments import MOST_EVENTS, seal
from gateway.audit.segments_manifest import SegmentDamaged
from gateway.commands.audit.options import data_dir, log_path, reading
from gateway.settings.folder import SEGMENTS_DIR


@click.command("seal")
@click.option(
    "--to", "target", type=click.Path(path_type=Path), help="Folder of the segments; beside the log if not given."
)
@click.option("--most", type=click.IntRange(min=1), default=MOST_EVENTS, show_default=True, help="Events of a segment.")
@click.option("--today", is_flag=True, help="Seal the day that is not over yet, too.")
@data_dir
@click.pass_context
@reading
def seal_command(context: click.Context, *, target: Path | None, most: int, today: bool, data_dir: Path | None) -> None:
    """Write what signed checkpoints cover as Parquet, by tenant and day, once and for good; any engine reads it.

    Run it daily. `gateway audit verify --segments FOLDER` checks the files against the checkpoints, without the log.
    """
    log = log_path(context, data_dir)
    try:
        sealed = seal(log, target or log.parent / SEGMENTS_DIR, now=datetime.now(UTC), most=most, today=today)
    except SegmentDamaged as error:
        raise click.ClickException(f"{error.message}; nothing was sealed") from None
    except OSError as error:
        raise click.ClickException(f"the segments cannot be written: {error.strerror or error}") from None
    for name in sealed.segments:
        click.echo(f"sealed {name}")
    click.echo(f"{sealed.events} events sealed, {sealed.waiting} wait for their day to end", err=True)
