"""What tests of the console share besides fixtures."""

import re

import httpx


def door_of(answer: httpx.Response) -> str:
    """The token of a sign-in form."""
    match = re.search(r'name="door" value="(\w+)"', answer.text)
    assert match is not None
    return match[1]
