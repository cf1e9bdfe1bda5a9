"""Which format a file has: by the ending of its name, and by its first bytes, which must agree."""

from typing import Final

from gateway.retrieval.parsing.parsed import DocumentFormat, UnreadableDocument

SUFFIXES: Final = {
    ".md": DocumentFormat.MARKDOWN,
    ".markdown": DocumentFormat.MARKDOWN,
    ".txt": DocumentFormat.PLAIN,
    ".html": DocumentFormat.HTML,
    ".htm": DocumentFormat.HTML,
    ".xhtml": DocumentFormat.HTML,
    ".pdf": DocumentFormat.PDF,
    ".docx": DocumentFormat.DOCX,
    ".csv": DocumentFormat.CSV,
}

_MAGIC: Final = (
    (b"%PDF-", DocumentFormat.PDF, "a pdf"),
    (b"PK\x03\x04", DocumentFormat.DOCX, "a zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", None, "an old or locked office file"),
    (b"\x1f\x8b", None, "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", None, "a 7z archive"),
    (b"Rar!", None, "a rar archive"),
    (b"\x7fELF", None, "a program"),
    (b"MZ", None, "a program"),
    (b"\x89PNG", None, "an image"),
    (b"\xff\xd8\xff", None, "an image"),
    (b"{\\rtf", None, "rich text"),
)
_BINARY: Final = frozenset({DocumentFormat.PDF, DocumentFormat.DOCX})
_PDF_WITHIN: Final = 1024  # readers accept so many bytes before a pdf


def format_of(suffix: str, content: bytes) -> DocumentFormat:
    """`suffix` is one of `SUFFIXES`, in lower case. Raises `UnreadableDocument` for content of another kind."""
    named = SUFFIXES[suffix]
    if named is DocumentFormat.PDF and b"%PDF-" in content[:_PDF_WITHIN]:
        return named
    for magic, format_, words in _MAGIC:
        if content.startswith(magic) and not (magic == b"MZ" and named not in _BINARY and _is_text(content)):
            if format_ is named:
                return named
            raise UnreadableDocument(f"the name ends `{suffix}` but the content is {words}: rename or convert it")
    if named in _BINARY:
        raise UnreadableDocument(f"the name ends `{suffix}` but the content is something else: rename or convert it")
    return named


def _is_text(content: bytes) -> bool:
    return b"\x00" not in content[:4096]
