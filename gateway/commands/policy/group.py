"""`gateway policy`: check, test, compare, prove and sign policies."""

import click

from gateway.commands.policy.bench import bench_command
from gateway.commands.policy.check import lint_command, test_command
from gateway.commands.policy.compare import diff_command, prove_command
from gateway.commands.policy.explain import explain_command, schema_command
from gateway.commands.policy.layout import fmt_command
from gateway.commands.policy.new import new_command
from gateway.commands.policy.replay import replay_command
from gateway.commands.policy.signatures import sign_command, verify_command


@click.group("policy")
def policy() -> None:
    """Check, test, compare, prove and sign policies.

    Exit codes: 0 the policies are right, 1 they are wrong, 2 the tool could not run.
    """


for _command in (
    lint_command,
    test_command,
    new_command,
    fmt_command,
    explain_command,
    schema_command,
    diff_command,
    prove_command,
    replay_command,
    bench_command,
    sign_command,
    verify_command,
):
    policy.add_command(_command)
