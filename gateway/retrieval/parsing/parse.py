"""Bytes of a known format -> sections."""

from typing import assert_never

from gateway.retrieval.markdown import paragraphs, sections
from gateway.retrieval.parsing.docx import parse_docx
from gateway.retrieval.parsing.hidden import without_invisible, without_markdown_comments
from gateway.retrieval.parsing.html import parse_html
from gateway.retrieval.parsing.parsed import (
    DEFAULT_LIMITS,
    DocumentFormat,
    Parsed,
    ParseLimits,
    UnreadableDocument,
    check_chars,
)
from gateway.retrieval.parsing.pdf import parse_pdf
from gateway.retrieval.parsing.spreadsheet import parse_csv


def parse(content: bytes, format_: DocumentFormat, limits: ParseLimits = DEFAULT_LIMITS) -> Parsed:
    """Deterministic. Raises `UnreadableDocument`. `content` is without front matter."""
    match format_:
        case DocumentFormat.MARKDOWN:
            return _markdown(decoded(content), limits)
        case DocumentFormat.PLAIN:
            text, hidden = without_invisible(decoded(content))
            check_chars(len(text), limits)
            return Parsed(sections=tuple(paragraphs(text)), hidden=hidden)
        case DocumentFormat.HTML:
            return parse_html(decoded(content), limits)
        case DocumentFormat.PDF:
            return parse_pdf(content, limits)
        case DocumentFormat.DOCX:
            return parse_docx(content, limits)
        case DocumentFormat.CSV:
            return parse_csv(decoded(content), limits)
        case _:
            assert_never(format_)


def decoded(content: bytes) -> str:
    """UTF-8 text with plain line ends. Raises `UnreadableDocument`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableDocument(f"not utf-8 at byte {error.start}: save it as utf-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")


def _markdown(text: str, limits: ParseLimits) -> Parsed:
    check_chars(len(text), limits)
    plain, invisible = without_invisible(text)
    shown, hidden = without_markdown_comments(plain)
    return Parsed(sections=tuple(sections(shown)), hidden=hidden + invisible)
