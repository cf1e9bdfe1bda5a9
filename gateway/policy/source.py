"""A policy file as read: its name in the bundle and its decoded content with places."""

from msgspec import Struct

from gateway.policy.schema import PolicySet
from gateway.strict_yaml import Document


class Source(Struct, frozen=True, eq=False):
    """`name` is the path below its root without the suffix (`base/personal-data`), what `extends` refers to;
    `file` is how faults name it."""

    name: str
    file: str
    document: Document[PolicySet]

    @property
    def set(self) -> PolicySet:
        return self.document.value
