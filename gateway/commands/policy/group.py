"""`gateway policy`: write, check, test, compare, prove and sign policies."""

import click

from gateway.commands.policy.check import lint_command, test_command
from gateway.commands.policy.explain import explain_command, schema_command


@click.group("policy")
def policy() -> None:
    """Write, check, test, compare, prove and sign policies.

    Exit codes: 0 the policies are right, 1 they are wrong, 2 the tool could not run.
    """


for _command in (
    lint_command,
    test_command,
    explain_command,
    schema_command,
):
    policy.add_command(_command)
