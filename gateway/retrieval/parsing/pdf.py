"""PDF -> blocks with their page, through pypdf.

A page's text is read operator by operator, so that what no reader sees can be left out: text drawn with no ink
(rendering mode 3), in white where nothing dark was painted below it, or smaller than a point. A page whose only text
has no ink and that shows an image is a scan with recognised text: there the text is what the image says, and stays.
Words cut at line ends are joined, lines that head or foot most pages are dropped after the first page.
"""

import io
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, Final

from msgspec import Struct, field

from gateway.retrieval.markdown import Block, Section, prose
from gateway.retrieval.parsing.hidden import without_invisible
from gateway.retrieval.parsing.parsed import DEFAULT_LIMITS, Parsed, ParseLimits, UnreadableDocument, check_chars

_SMALLEST_PT: Final = 1.5
_INKLESS: Final = frozenset({3, 7})
_WHITE: Final = 0.95  # of full brightness
_SHOWING: Final = frozenset({b"Tj", b"TJ", b"'", b'"'})
_FILLING: Final = frozenset({b"f", b"F", b"f*", b"B", b"B*", b"b", b"b*"})
_RUNNING_PAGES: Final = 4  # fewer pages do not tell a running head from a repeated sentence
_RUNNING_SHARE: Final = 0.6
_CUT_WORD: Final = re.compile(r"(\w*[^\W\d_])[-\u00ad\u2010]\n([a-zß-öø-ÿ]\w*)")
_SHORT_LINE: Final = 0.75  # of a usual line: a full stop there ends a paragraph
_ENDS: Final = (".", ":", "!", "?", ";")

# What pypdf meets in files that are not what they claim to be.
_UNSOUND: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
    NotImplementedError,
)

Matrix = Sequence[float]


def parse_pdf(content: bytes, limits: ParseLimits = DEFAULT_LIMITS) -> Parsed:
    """Raises `UnreadableDocument` for a broken or locked file."""
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its warnings quote the file
    try:
        return _read(content, limits)
    except UnreadableDocument:
        raise
    except (PyPdfError, *_UNSOUND) as error:
        raise UnreadableDocument(f"the pdf is broken: {type(error).__name__}: save or print it anew") from None


def _read(content: bytes, limits: ParseLimits) -> Parsed:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableDocument("the pdf needs a password: save it without one")
    count = len(reader.pages)
    if count > limits.pages:
        raise UnreadableDocument(f"the pdf has {count} pages: the limit is {limits.pages}, split it")
    title = reader.metadata.title if reader.metadata is not None else None
    return _parsed(_pages(reader, limits), title if isinstance(title, str) else "")


class _Page(Struct, frozen=True):
    text: str
    hidden: int


def _pages(reader: Any, limits: ParseLimits) -> list[_Page]:
    found = []
    chars = 0
    for page in reader.pages:
        seen = _Seen(inkless_is_hidden=True)
        text = page.extract_text(visitor_operand_before=seen.before)
        if seen.inkless and not seen.shown and seen.images:
            seen = _Seen(inkless_is_hidden=False)
            text = page.extract_text(visitor_operand_before=seen.before)
        text, invisible = without_invisible(text)
        chars += len(text)
        check_chars(chars, limits)
        found.append(_Page(text.replace("\x00", ""), seen.hidden + invisible))
    return found


class _State(Struct):
    """The part of the graphics state that decides whether text is seen."""

    brightness: float = 0.0
    mode: int = 0
    size: float = 12.0


class _Box(Struct, frozen=True):
    left: float
    bottom: float
    right: float
    top: float

    def holds(self, x: float, y: float) -> bool:
        return self.left <= x <= self.right and self.bottom <= y <= self.top


class _Seen(Struct):
    """Follows the operators of one page and empties those that show hidden text before pypdf reads them."""

    inkless_is_hidden: bool
    hidden: int = 0
    shown: int = 0
    inkless: int = 0
    images: int = 0
    _now: _State = field(default_factory=_State)
    _saved: list[_State] = field(default_factory=list)
    _open: list[_Box] = field(default_factory=list)  # rectangles of the path being built
    _painted: list[_Box] = field(default_factory=list)  # where something darker than white lies

    def before(self, operator: bytes, operands: list[Any], cm: Matrix, tm: Matrix) -> None:
        """pypdf's hook; `operands` are those that it goes on to use."""
        if operator in _SHOWING:
            self._show(operands, cm, tm)
        elif operator == b"q":
            self._saved.append(_State(self._now.brightness, self._now.mode, self._now.size))
        elif operator == b"Q" and self._saved:
            self._now = self._saved.pop()
        elif operator == b"Tr" and operands:
            self._now.mode = int(operands[0])
        elif operator == b"Tf" and len(operands) > 1:
            self._now.size = abs(float(operands[1]))
        elif operator in {b"g", b"rg", b"k", b"sc", b"scn"}:
            self._now.brightness = _brightness(operator, operands)
        elif operator == b"re" and len(operands) >= 4:
            self._open.append(_box([float(value) for value in operands[:4]], cm))
        elif operator in _FILLING:
            if self._now.brightness < _WHITE:
                self._painted += self._open
            self._open = []
        elif operator in {b"n", b"S", b"s"}:
            self._open = []
        elif operator == b"Do":
            self.images += 1
            self._painted.append(_box([0.0, 0.0, 1.0, 1.0], cm))

    def _show(self, operands: list[Any], cm: Matrix, tm: Matrix) -> None:
        count = sum(map(len, _strings(operands)))
        if not count:
            return
        inkless = self._now.mode in _INKLESS
        self.inkless += count * inkless
        x, y = _moved(cm, *_moved(tm, 0.0, 0.0))
        height = self._now.size * _scale(tm) * _scale(cm)
        white = self._now.brightness >= _WHITE and not any(box.holds(x, y) for box in self._painted)
        if height < _SMALLEST_PT or (inkless and self.inkless_is_hidden) or (white and not inkless):
            self.hidden += count
            # the operator stays, since it also moves the position
            operands[-1] = type(operands[-1])()
        else:
            self.shown += count


def _strings(operands: Sequence[Any]) -> Iterator[Any]:
    for operand in operands[-1:]:
        if isinstance(operand, (str, bytes)):
            yield operand
        elif isinstance(operand, list):
            yield from (part for part in operand if isinstance(part, (str, bytes)))


def _brightness(operator: bytes, operands: Sequence[Any]) -> float:
    """0 for black to 1 for white; a pattern or an unknown colour space counts as dark."""
    values = [float(value) for value in operands if isinstance(value, (int, float)) or hasattr(value, "as_numeric")]
    if operator == b"k" or (operator in {b"sc", b"scn"} and len(values) == 4):
        return 1.0 - max(values) if values else 0.0
    return min(values) if values and len(values) == len(operands) else 0.0


def _moved(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = (float(value) for value in matrix)
    return a * x + c * y + e, b * x + d * y + f


def _scale(matrix: Matrix) -> float:
    a, b, c, d = (float(value) for value in matrix[:4])
    return float(abs(a * d - b * c) ** 0.5)


def _box(rectangle: Sequence[float], cm: Matrix) -> _Box:
    x, y, width, height = rectangle
    corners = [_moved(cm, x + dx, y + dy) for dx in (0, width) for dy in (0, height)]
    xs, ys = [corner[0] for corner in corners], [corner[1] for corner in corners]
    return _Box(min(xs), min(ys), max(xs), max(ys))


def _parsed(pages: Sequence[_Page], title: str) -> Parsed:
    lines = [[line.strip() for line in page.text.split("\n")] for page in pages]
    running = _running(lines)
    seen: set[str] = set()
    kept = [[line for line in page if not _repeats(line, running, seen)] for page in lines]
    words = Counter(re.findall(r"\w+-\w+", "\n".join(page.text for page in pages)))
    blocks = [
        block
        for number, page in enumerate(kept, start=1)
        for block in _paragraphs(_joined("\n".join(page), words), number)
    ]
    return Parsed(
        sections=(Section(path=(), line="", blocks=tuple(blocks)),) if blocks else (),
        title=" ".join(title.split()),
        hidden=sum(page.hidden for page in pages),
        unit="page",
    )


def _running(pages: Sequence[Sequence[str]]) -> frozenset[str]:
    """Forms of the lines that head or foot most pages; page numbers do not tell them apart."""
    if len(pages) < _RUNNING_PAGES:
        return frozenset()
    ends = Counter(form for page in pages for form in {_form(line) for line in _ends(page)})
    return frozenset(form for form, count in ends.items() if count >= _RUNNING_SHARE * len(pages))


def _ends(page: Sequence[str]) -> list[str]:
    written = [line for line in page if line]
    return [*written[:2], *written[-2:]]


def _form(line: str) -> str:
    return re.sub(r"\d+", "#", line)


def _repeats(line: str, running: frozenset[str], seen: set[str]) -> bool:
    form = _form(line)
    if form not in running:
        return False
    again = form in seen
    seen.add(form)
    return again


def _joined(text: str, words: Counter[str]) -> str:
    """Words cut at line ends made whole; a hyphen stays where the document writes the word with one elsewhere."""

    def join(found: re.Match[str]) -> str:
        hyphen = "-" if words[f"{found[1]}-{found[2]}"] else ""
        return f"{found[1]}{hyphen}{found[2]}"

    return _CUT_WORD.sub(join, text)


def _paragraphs(text: str, page: int) -> Iterator[Block]:
    lines = text.split("\n")
    usual = median([len(line) for line in lines if line] or [0])
    open_: list[str] = []
    for line in lines:
        if line:
            open_.append(line)
        if open_ and (not line or (line.endswith(_ENDS) and len(line) < _SHORT_LINE * usual)):
            yield prose("\n".join(open_), place=page)
            open_ = []
    if open_:
        yield prose("\n".join(open_), place=page)
