"""What a parser makes of a file, and what it may cost.

Every parser turns bytes into sections of blocks. Text that a reader of the original would not see (white on white,
zero size, hidden by a style) is an old way to slip orders to a model: it is left out and counted, never indexed.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.retrieval.markdown import Section


class DocumentFormat(StrEnum):
    MARKDOWN = "markdown"
    PLAIN = "plain"
    HTML = "html"
    PDF = "pdf"
    DOCX = "docx"
    CSV = "csv"


PARSER_VERSIONS: Final = {
    # Moves when the same bytes could give other blocks: the documents are then prepared again.
    DocumentFormat.MARKDOWN: "markdown-2",
    DocumentFormat.PLAIN: "plain-2",
    DocumentFormat.HTML: "html-1",
    DocumentFormat.PDF: "pdf-1",
    DocumentFormat.DOCX: "docx-1",
    DocumentFormat.CSV: "csv-1",
}


class ParseLimits(Struct, frozen=True, kw_only=True):
    """What one file may take. `bytes` of the file itself are the reader's to check."""

    pages: int = 3_000
    rows: int = 100_000
    chars: int = 8_000_000  # of text, four long books
    expanded_bytes: int = 256 * 1024 * 1024  # of an archive when unpacked
    depth: int = 400  # of nested elements


DEFAULT_LIMITS: Final = ParseLimits()


class Parsed(Struct, frozen=True, kw_only=True):
    """A parsed file. `title` is what the file calls itself, "" if it does not; `hidden` counts the characters that
    were left out because no reader sees them; `unit` says what the places of blocks count, `page` or `row`."""

    sections: tuple[Section, ...]
    title: str = ""
    hidden: int = 0
    unit: str = ""

    @property
    def name(self) -> str:
        """The title, else the first heading, else ""."""
        return self.title or next((section.path[0] for section in self.sections if section.path), "")

    @property
    def chars(self) -> int:
        return sum(len(block.text) for section in self.sections for block in section.blocks)

    def __repr__(self) -> str:
        return f"Parsed({len(self.sections)} sections, {self.chars} chars, {self.hidden} hidden)"


class UnreadableDocument(ConfigurationError):
    """A file that is broken, locked or over a limit. The message says which and what to do, and shows no content."""

    code = "unreadable_document"


def check_chars(chars: int, limits: ParseLimits) -> None:
    if chars > limits.chars:
        raise UnreadableDocument(f"the text has more than {limits.chars} characters: split the document")
