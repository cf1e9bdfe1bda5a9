"""Templates to pages. Everything is escaped; what a template gets from outside is text and stays text."""

import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from litestar.enums import MediaType
from markupsafe import Markup, escape

from gateway.console.assets import Assets

_TEMPLATES: Final = Path(__file__).parent / "templates"
_SHORT_UNTIL: Final = timedelta(hours=48)


class Renderer:
    """`base` is the path that the console is mounted at."""

    def __init__(self, assets: Assets, *, base: str) -> None:
        self.base = base
        self._env = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._env.filters |= {
            "visible": visible,
            "moment": moment,
            "left": left,
            "words": words,
            "plain_json": plain_json,
        }
        self._env.globals |= {"base": base, "asset": lambda plain: f"{base}/static/{assets.names[plain]}"}

    def page(
        self, template: str, context: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response[str]:
        """A page of the template with this context, which holds what `base.html` needs."""
        text = self._env.get_template(template).render(**context)
        return Response(text, status_code=status, media_type=MediaType.HTML, headers=dict(headers or {}))


def visible(text: str) -> Markup:
    """A text with what cannot be seen made visible: control characters, direction marks, zero-width and tag
    characters, with which a text shows one thing to a reviewer and says another to a model."""
    text = text.replace("\r\n", "\n")
    parts: list[Markup] = []
    start = 0
    for at, char in enumerate(text):
        if char in "\n\t" or unicodedata.category(char) == "Zs" or (char.isprintable() and not _is_unseen(char)):
            continue
        parts += (escape(text[start:at]), Markup('<span class="unseen">U+{:04X}</span>').format(ord(char)))
        start = at + 1
    return Markup("").join((*parts, escape(text[start:])))


def _is_unseen(char: str) -> bool:
    """Printable by the book, and yet nothing is seen: variation selectors, fillers, the braille blank."""
    code = ord(char)
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or code in {0x115F, 0x1160, 0x2800, 0x3164, 0xFFA0}


def moment(time: datetime) -> Markup:
    """A time for people, with the exact one for machines."""
    return Markup('<time datetime="{}">{}</time>').format(time.isoformat(), f"{time:%d %b %Y, %H:%M} UTC")


def left(until: datetime, now: datetime) -> str:
    """How long until then, or since: `2 h 05 min left`, `40 s left`, `3 d late`."""
    span = until - now
    word = "left" if span >= timedelta(0) else "late"
    return f"{_span(abs(span))} {word}"


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    if span >= _SHORT_UNTIL:
        return f"{span.days} d"
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 60} min" if seconds >= 120 else f"{seconds} s"


def plain_json(value: Any) -> str:
    """A value as JSON, in one line."""
    return json.dumps(value, ensure_ascii=False)


def words(name: str) -> str:
    """`in_review` as a person writes it."""
    return name.replace("_", " ")
