"""Which text a reader does not see: CSS declarations, colours, invisible characters, comments of Markdown.

Simple means are recognised (display, visibility, opacity, size, position off the page, clipping, text in the colour
of its background), as authors and attackers write them. Computed styles of a browser are not: what scripts or
selectors of other files hide is taken for visible and is judged like all other text.
"""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

_DECLARATION: Final = re.compile(r"([\w-]{1,40})\s*:\s*([^;{}]{1,200})")
_RULE: Final = re.compile(r"([^{}]{1,400})\{([^{}]{0,4000})\}")
_AT_RULE: Final = re.compile(r"@[^{};]{0,400}[{;]")
_CSS_COMMENT: Final = re.compile(r"/\*[^*]{0,10000}\*/")
_LENGTH: Final = re.compile(r"(-?\d{0,9}(?:\.\d{1,9})?)\s*(px|pt|em|rem|ex|ch|%|vw|vh|cm|mm|in)?")
_RGB: Final = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:[\s,/]+([\d.]{1,8}%?))?\s*\)")
_HEX: Final = re.compile(r"#([0-9a-f]{3,8})")
_NAMED: Final = {
    "white": (255, 255, 255), "snow": (255, 250, 250), "ivory": (255, 255, 240), "ghostwhite": (248, 248, 255),
    "whitesmoke": (245, 245, 245), "floralwhite": (255, 250, 240), "black": (0, 0, 0), "red": (255, 0, 0),
    "green": (0, 128, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "gray": (128, 128, 128),
    "grey": (128, 128, 128), "silver": (192, 192, 192), "navy": (0, 0, 128), "maroon": (128, 0, 0),
}  # fmt: skip

# Characters that are drawn as nothing and spell words all the same: the tag block, which mirrors ASCII.
_TAGS: Final = re.compile("[\U000e0000-\U000e007f]")

_SMALLEST: Final = {"px": 2.0, "pt": 1.5, "em": 0.15, "rem": 0.15, "%": 15.0, "": 0.0}
_FAR: Final = {"px": 900.0, "pt": 700.0, "em": 60.0, "rem": 60.0, "%": 300.0, "vw": 100.0, "vh": 100.0}
_NEAR_COLOURS: Final = 24  # summed over red, green and blue; no eye reads text that differs so little

Colour = tuple[int, int, int]
WHITE: Final[Colour] = (255, 255, 255)
BLACK: Final[Colour] = (0, 0, 0)


class Inherited(Struct, frozen=True, kw_only=True):
    """What text takes over from the elements around it. A background of `None` is unknown: an image."""

    colour: Colour | None = BLACK
    background: Colour | None = WHITE
    hidden: bool = False

    @property
    def unseen(self) -> bool:
        """Whether text that stands here is not seen. A child may take another colour, but nothing un-hides it."""
        return self.hidden or _alike(self.colour, self.background)


def without_invisible(text: str) -> tuple[str, int]:
    """The text without characters that nobody sees, and how many there were."""
    return _TAGS.subn("", text) if max(text, default="") >= "\U000e0000" else (text, 0)


def declarations(style: str) -> dict[str, str]:
    """Property -> value of a `style` attribute or the inside of a rule, in lower case; the last of a name counts."""
    found = _DECLARATION.findall(style.lower())
    return {name: value.replace("!important", "").strip() for name, value in found}


def rules(sheet: str) -> list[tuple[str, dict[str, str]]]:
    """Selector and declarations of each rule of a style sheet. Rules inside `@media` count as if they always held."""
    plain = _AT_RULE.sub(" ", _CSS_COMMENT.sub(" ", sheet))
    return [(selector.strip(), declarations(body)) for selector, body in _RULE.findall(plain)]


def inherit(outer: Inherited, style: Mapping[str, str]) -> Inherited:
    """What holds inside an element with these declarations."""
    colour, background = outer.colour, outer.background
    unseen = outer.hidden or _hides(style)
    if "color" in style:
        colour = _colour(style["color"])
        unseen = unseen or style["color"] == "transparent" or _is_clear(style["color"])
    painted = style.get("background-color") or style.get("background")
    if painted and painted not in {"none", "transparent", "inherit", "initial"}:
        background = _colour(painted)
    return Inherited(colour=colour, background=background, hidden=unseen)


def _alike(one: Colour | None, other: Colour | None) -> bool:
    return (
        one is not None
        and other is not None
        and sum(abs(a - b) for a, b in zip(one, other, strict=True)) <= _NEAR_COLOURS
    )


def _hides(style: Mapping[str, str]) -> bool:
    clipped = style.get("overflow", "").startswith(("hidden", "clip"))
    return (
        style.get("display") == "none"
        or style.get("visibility") in {"hidden", "collapse"}
        or style.get("content-visibility") == "hidden"
        or _below(style.get("opacity", ""), {"": 0.05, "%": 5.0})
        or _below(style.get("font-size", ""), _SMALLEST)
        or (clipped and any(_below(style.get(name, ""), _SMALLEST) for name in ("width", "height", "max-height")))
        or any(_off_page(style.get(name, "")) for name in ("left", "right", "top", "bottom", "text-indent"))
        or any(_off_page(style.get(name, "")) for name in ("margin-left", "margin-top"))
        or re.search(r"scale\w?\(\s*0?\.?0*\s*[,)]", style.get("transform", "")) is not None
        or re.match(r"rect\(\s*[01](px)?[\s,]", style.get("clip", "")) is not None
        or re.match(r"(inset\(\s*(50|100)%|circle\(\s*0)", style.get("clip-path", "")) is not None
    )


def _below(value: str, bounds: Mapping[str, float]) -> bool:
    """Whether a length is zero, or at most the bound of its unit."""
    found = _LENGTH.fullmatch(value.strip())
    if not found or not found[1].strip("-."):
        return False
    return float(found[1]) <= bounds.get(found[2] or "", 0.0)


def _off_page(value: str) -> bool:
    found = _LENGTH.fullmatch(value.strip())
    if not found or not found[1].strip("-.") or not found[2]:
        return False
    return float(found[1]) <= -_FAR.get(found[2], float("inf"))


def _colour(value: str) -> Colour | None:
    """The first colour that a value names; `None` for none that is known."""
    if found := _RGB.search(value):
        return int(found[1]), int(found[2]), int(found[3])
    if (found := _HEX.search(value)) and len(found[1]) in {3, 4, 6, 8}:
        digits = found[1]
        if len(digits) < 6:
            digits = "".join(digit * 2 for digit in digits)
        return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
    return next((_NAMED[word] for word in re.findall(r"[a-z]+", value) if word in _NAMED), None)


def _is_clear(value: str) -> bool:
    found = _RGB.search(value)
    return found is not None and found[4] is not None and _below(found[4], {"": 0.05, "%": 5.0})


def without_markdown_comments(text: str) -> tuple[str, int]:
    """Markdown without what its rendering does not show, and how many characters that were: HTML comments, link
    definitions used as comments (`[//]: # (…)`), and elements that hide themselves. Fenced code stays as it is."""
    parts: list[str] = []
    hidden = 0
    for is_code, part in _fenced(text):
        if is_code or ("<" not in part and "[" not in part):
            parts.append(part)
            continue
        shown, count = _without_comments(part)
        shown, more = _without_hidden_elements(shown)
        shown, link = _COMMENT_LINK.subn("", shown)
        hidden += count + more + (len(part) - count - more - len(shown) if link else 0)
        parts.append(shown)
    return "".join(parts), hidden


_COMMENT_LINK: Final = re.compile(r"^ {0,3}\[(?://|comment|#)\]:[^\n]{0,2000}$", re.MULTILINE | re.IGNORECASE)
_FENCE_LINE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_OPENING: Final = re.compile(r"<([a-zA-Z][a-zA-Z0-9]{0,20})\b([^<>]{0,1000})>")
_STYLE: Final = re.compile(r"style\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_HIDDEN_WORD: Final = re.compile(r"(?:^|\s)hidden(?:\s|=|/|$)", re.IGNORECASE)


def _fenced(text: str) -> list[tuple[bool, str]]:
    """The text in parts, each with whether it is fenced code."""
    parts: list[tuple[bool, str]] = []
    lines: list[str] = []
    mark = ""
    for line in text.splitlines(keepends=True):
        fence = _FENCE_LINE.match(line)
        if fence and not mark:
            parts.append((False, "".join(lines)))
            lines, mark = [line], fence[1]
        elif fence and mark and fence[1].startswith(mark):
            parts.append((True, "".join([*lines, line])))
            lines, mark = [], ""
        else:
            lines.append(line)
    parts.append((bool(mark), "".join(lines)))
    return parts


def _without_comments(text: str) -> tuple[str, int]:
    parts: list[str] = []
    at = hidden = 0
    while (start := text.find("<!--", at)) >= 0:
        end = text.find("-->", start + 4)
        if end < 0:  # an open comment hides all that follows, as in a browser
            end = len(text)
        parts.append(text[at:start])
        hidden += len(text[start + 4 : end].strip())
        at = min(end + 3, len(text))
    return "".join([*parts, text[at:]]), hidden


def _without_hidden_elements(text: str) -> tuple[str, int]:
    parts: list[str] = []
    at = hidden = 0
    for opening in _OPENING.finditer(text):
        if opening.start() < at or not _is_hidden(opening[2]):
            continue
        end = text.find(f"</{opening[1]}", opening.end())
        end = len(text) if end < 0 else end
        parts.append(text[at : opening.start()])
        hidden += len(text[opening.end() : end].strip())
        closed = text.find(">", end)
        at = len(text) if closed < 0 else closed + 1
    return "".join([*parts, text[at:]]), hidden


def _is_hidden(attributes: str) -> bool:
    style = _STYLE.search(attributes)
    plain = _STYLE.sub(" ", attributes)
    if _HIDDEN_WORD.search(plain):
        return True
    return style is not None and inherit(Inherited(), declarations(style[1] or style[2] or "")).unseen
