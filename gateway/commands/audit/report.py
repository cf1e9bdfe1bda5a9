"""A verification of the log, for people."""

from pathlib import Path

from gateway.audit.verify import Verification


def report_log(path: Path, result: Verification) -> list[str]:
    """What a verification found, the outcome first."""
    lines = [f"{path}: {result.outcome.value}"]
    if result.bad is not None:
        lines.append(f"first bad event: {result.bad}")
    lines.append(
        f"{result.events} events of the log `{result.log}` hold, the last of them {result.hash} {result.last_ts}"
    )
    lines += [
        f"exchange `{one.request}` (event {one.seq}) never ended: the gateway stopped and was not started again"
        for one in result.unfinished[:20]
    ]
    if len(result.unfinished) > 20:
        lines.append(f"and {len(result.unfinished) - 20} more")
    for count, what in (
        (result.in_flight, "exchanges are under way"),
        (result.crashed, "exchanges were cut off by a crash (`unknown_after_crash`)"),
        (result.clock_steps, "events were written while the clock stood behind the log"),
        (result.clock_ahead_s, "seconds the clock of the log was ahead of the witness's"),
    ):
        if count:
            lines.append(f"{count} {what}")
    lines += [f"diverged: {what}" for what in result.diverged[:20]]
    lines += [f"accepted by two people: {what}" for what in result.accepted[:20]]
    if result.bad is None:
        lines.append(_anchored(result))
    return lines


def _anchored(result: Verification) -> str:
    anchor = result.anchor
    if anchor is not None:
        by = f", cosigned by {', '.join(anchor.witnesses)}" if anchor.witnesses else "; no witness was asked for"
        tail = result.events - anchor.size
        return (
            f"anchored: a trusted checkpoint covers {anchor.size} events{by}; {tail} newer ones hang on the chain alone"
        )
    if result.checkpoints:
        return f"unanchored: {result.checkpoints} checkpoints were compared; name the key that you trust with --key"
    return "unanchored: keep the last hash elsewhere to show later that nothing was cut off or written anew"
