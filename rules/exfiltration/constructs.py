"""The constructs of Markdown and HTML that make a client fetch or follow an address, and who judges each.

A judge gets the matched text and its surroundings, and gives the part that a finding covers, relative to the match,
or `None`. Address attributes and destinations are read after HTML entities are decoded, as renderers do.
"""

import html
import re
from collections.abc import Callable
from functools import cached_property
from typing import Final

from msgspec import Struct

from rules.exfiltration.address import Address, carries_data, has_placeholder, parse, trim

Part = tuple[int, int]


class Surroundings:
    """The read text around a match, and which hosts are allowed."""

    def __init__(self, text: str, allowed_hosts: frozenset[str]) -> None:
        self._text = text
        self._allowed = allowed_hosts

    def outside(self, url: str) -> Address | None:
        """The address if it is remote and its host is not allowed."""
        address = parse(html.unescape(url))
        if address is None:
            return None
        parents = address.host.split(".")
        names = {".".join(parents[i:]) for i in range(len(parents))}
        return None if names & self._allowed else address

    @cached_property
    def image_labels(self) -> frozenset[str]:
        """Labels that images of the text refer to, as CommonMark compares them."""
        references = _IMAGE_REFERENCE.findall(self._text)
        return frozenset(_label(label or alt) for alt, label in references)


Judge = Callable[[str, Surroundings], Part | None]


class Construct(Struct, frozen=True, kw_only=True):
    kind: str
    regex: str
    judge: Judge


_LABEL: Final = r"\[(?:[^\[\]\\]|\\.|\[[^\[\]]*\])*\]"
_MARKDOWN_URL: Final = re.compile(rf"!{_LABEL}\(\s*<?\s*([^\s)>]+)", re.DOTALL)
_DEFINITION: Final = re.compile(r"[ \t>*-]*\[(.*)\]:\s*<?(\S+)", re.DOTALL)
_IMAGE_REFERENCE: Final = re.compile(r"!\[([^\[\]]*)\](?:\s?\[([^\[\]]*)\])?")
_ATTRIBUTE: Final = re.compile(
    r"(?:src|srcset|href|data|poster|background|action|formaction|content)\s*=\s*"
    r"(?:\"(?P<double>[^\"]*)|'(?P<single>[^']*)|(?P<bare>[^\s>]+))",
    re.IGNORECASE,
)
_REMOTE: Final = re.compile(r"(?:(?:https?|wss?|ftp):|[/\\]{2})[^\s,;\"'<>)]+", re.IGNORECASE)
_RASTER: Final = re.compile(r"data\s*:\s*image/(?:png|jpe?g|gif|webp)\b", re.IGNORECASE)
_ADDRESS_START: Final = re.compile(r"(?=(?:https?|wss?|ftp)://)", re.IGNORECASE)
_NEXT_CONSTRUCT: Final = re.compile(r"\)\[|\]\(")


def _label(label: str) -> str:
    return " ".join(label.split()).casefold()


def _remote_image(match: str, around: Surroundings) -> Part | None:
    url = _MARKDOWN_URL.match(match)
    return (0, len(match)) if url and around.outside(url.group(1)) else None


def _image_definition(match: str, around: Surroundings) -> Part | None:
    definition = _DEFINITION.match(match)
    if definition is None or _label(definition.group(1)) not in around.image_labels:
        return None
    return (0, len(match)) if around.outside(definition.group(2)) else None


def _remote_attribute(match: str, around: Surroundings) -> Part | None:
    for attribute in _ATTRIBUTE.finditer(match):
        value = html.unescape(attribute["double"] or attribute["single"] or attribute["bare"] or "")
        if any(around.outside(url) for url in _REMOTE.findall(value)):
            return 0, len(match)
    return None


def _remote_style(match: str, around: Surroundings) -> Part | None:
    return (0, len(match)) if any(around.outside(url) for url in _REMOTE.findall(match)) else None


def _odd_scheme(match: str, _: Surroundings) -> Part | None:
    return None if _RASTER.search(match) else (0, len(match))


def _placeholder(match: str, around: Surroundings) -> Part | None:
    return (0, len(match)) if has_placeholder(match) and around.outside(match) else None


def _loaded_link(match: str, around: Surroundings) -> Part | None:
    """An address may hold others: that of a redirector's target, or the next link without white space between."""
    for piece in filter(None, _ADDRESS_START.split(match)):
        address = around.outside(trim(_NEXT_CONSTRUCT.split(piece, maxsplit=1)[0]))
        if address is not None and carries_data(address):
            return 0, len(trim(match))
    return None


def _loaded_relative_link(match: str, around: Surroundings) -> Part | None:
    start = match.index("//")
    part = _loaded_link(match[start:], around)
    return part and (start, start + part[1])


_IMAGE_TAGS: Final = "img|image|picture|svg"
_OTHER_TAGS: Final = (
    "input|source|video|audio|track|embed|object|iframe|frame|script|link|body|table|td|th|form|base|meta|use|button"
)
_URL: Final = r"(?i:https?|wss?|ftp)://[^\s<>\"'`]+(?:<[A-Za-z0-9_ -]{3,40}>[^\s<>\"'`]*)*"
_DESTINATION: Final = r"(?:\]\(\s*<?\s*|\]:\s*<?\s*|<|(?:href|src|srcdoc|action|formaction|data)\s*=\s*[\"']?\s*)"

# The most telling first: what one finding covers is no second finding.
CONSTRUCTS: Final[dict[str, Construct]] = {
    "markdown_image": Construct(
        kind="exfiltration.image",
        regex=rf"(?s)!{_LABEL}\(\s*<?\s*[^\s)>]+[^)\n]*\)?",
        judge=_remote_image,
    ),
    "image_definition": Construct(
        kind="exfiltration.image",
        regex=rf"(?m)^[ \t>*-]*{_LABEL}:\s*<?[^\s>]+",
        judge=_image_definition,
    ),
    "html_image": Construct(
        kind="exfiltration.image",
        regex=rf"(?i)<\s*(?:{_IMAGE_TAGS})\b[^<>]*>?",
        judge=_remote_attribute,
    ),
    "html_embed": Construct(
        kind="exfiltration.embed",
        regex=rf"(?i)<\s*(?:{_OTHER_TAGS})\b[^<>]*>?",
        judge=_remote_attribute,
    ),
    "style": Construct(
        kind="exfiltration.embed",
        regex=r"(?i)url\(\s*[\"']?\s*(?:https?:)?//[^)\s]*\)?",
        judge=_remote_style,
    ),
    "scheme": Construct(
        kind="exfiltration.scheme",
        regex=rf"(?i){_DESTINATION}(?:javascript|vbscript|data)\s*:[^\s)\"'>]*",
        judge=_odd_scheme,
    ),
    "placeholder": Construct(kind="exfiltration.placeholder", regex=_URL, judge=_placeholder),
    "link": Construct(kind="exfiltration.link", regex=_URL, judge=_loaded_link),
    "relative_link": Construct(
        kind="exfiltration.link",
        regex=r"\]\(\s*<?\s*//[^\s)>]+",
        judge=_loaded_relative_link,
    ),
}
