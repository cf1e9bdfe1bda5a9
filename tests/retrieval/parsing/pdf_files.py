"""Small PDF files, written by hand: pages of content streams, without compression."""

_PIXEL = (
    b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 /Length 1 >>"
    b"\nstream\n\x00\nendstream"
)


def pdf(*streams: bytes, title: str = "", image: bool = False, encrypted: bytes = b"") -> bytes:
    """A PDF whose pages hold these content streams. `/F1` is Helvetica, `/Im1` a one-pixel image."""
    count = len(streams)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (count, b" ".join(b"%d 0 R" % (6 + 2 * n) for n in range(count))),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Title (%s) >>" % title.encode(),
        _PIXEL,
    ]
    resources = b"<< /Font << /F1 3 0 R >>" + (b" /XObject << /Im1 5 0 R >>" if image else b"") + b" >>"
    for number, stream in enumerate(streams):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources %s /Contents %d 0 R >>"
            % (resources, 7 + 2 * number)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return (
        body
        + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R /Info 4 0 R%s >>\n"
        % (
            size,
            table,
            size,
            encrypted,
        )
        + b"startxref\n%d\n%%%%EOF\n" % len(body)
    )


def lines(*texts: str, before: bytes = b"", size: int = 11) -> bytes:
    """A content stream that shows these lines one below the other."""
    shown = b" ".join(b"(%s) Tj T*" % text.encode("cp1252") for text in texts)
    return before + b" BT /F1 %d Tf 14 TL 72 700 Td %s ET" % (size, shown)
