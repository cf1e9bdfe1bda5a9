"""Who signs in to the console in a browser, and how a test waits for a page."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page

from gateway.console.roles import Role

PEOPLE = {
    "zoe": (Role.REVIEWER,),
    "bram": (Role.REVIEWER,),
    "lena": (Role.LEAD,),
    "auditor": (Role.AUDITOR,),
    "author": (Role.AUTHOR,),
    "admin": (Role.ADMIN,),
}


@contextmanager
def expect_page(page: Page) -> Iterator[None]:
    """The block makes the browser load a page."""
    with page.expect_navigation():
        yield
