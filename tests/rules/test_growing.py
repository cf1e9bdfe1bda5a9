import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.definition import ListDefinition, ListMatch, PatternDefinition
from rules.disclosure.detector import DisclosureDetector
from rules.exfiltration.detector import ExfiltrationDetector
from rules.growing import GrowingMatches, UnsupportedExpressionError, all_beginnings, beginnings
from rules.lists.detector import ListDetector
from rules.patterns.detector import PatternDetector
from rules.pii.detector import PiiPatterns
from rules.secrets.detector import SecretDetector

EXPRESSIONS = [
    r"CR-[0-9]{6}",
    r"(?i)pass(?:word|code)\s*[:=]\s*\S+",
    r"\b(?:\d[ -]?){13,16}\b",
    r"[\w.+-]+@[\w-]+\.[a-z]{2,}",
    r"a(?:bc|de)*f?g",
    r"(?:one|two|three) (?:little |big )?words?",
    r"x{2,5}y+z*?w",
]


def start(expression: str, text: str) -> int | None:
    return GrowingMatches([beginnings(expression)]).start(text)


@pytest.mark.parametrize(
    ("expression", "text", "expected"),
    [
        (r"CR-[0-9]{6}", "see CR-20", 4),
        (r"CR-[0-9]{6}", "see CR-204812", 4),
        (r"CR-[0-9]{6}", "see CR-204812 ", None),
        (r"CR-[0-9]{6}", "see CX", None),
        (r"CR-[0-9]{6}", "see C", 4),
        (r"(?i)password\s*[:=]\s*\S+", "my PassWord : ", 3),
        (r"\bcat\b", "a cat", 2),
        (r"caf\x{e9}s", "ein caf\u00e9", 4),
        (r"(?i:ab)c", "xABx", None),
        (r"(?i:ab)c", "xAB", 1),
        (r"[^\pL\pN\pM_]key", "a k", 1),
    ],
)
def test_the_start_of_a_growing_match(expression, text, expected):
    assert start(expression, text) == expected


def test_context_behind_a_match_belongs_to_it():
    growing = GrowingMatches([beginnings(r"\d{4}", context=5)])
    assert growing.start("pin 1234 abc") == 4
    assert growing.start("pin 1234 abcdef") is None


def test_invisible_characters_do_not_end_a_growing_match():
    assert GrowingMatches([beginnings(r"CR-[0-9]{6}")]).start("see C\u200bR-2\u200b0") == 4


@pytest.mark.parametrize("expression", [r"(?=a)b", r"(a)\1", r"\pLx", "(", r"\b"])
def test_what_cannot_be_derived_says_so(expression):
    with pytest.raises(UnsupportedExpressionError):
        beginnings(expression)
    assert all_beginnings([r"a", expression]) is None


@settings(deadline=None)
@given(st.data())
def test_every_beginning_of_a_match_is_held(data):
    """The law: however a match is cut, the part that has come is found growing, no later than it starts."""
    expression = data.draw(st.sampled_from(EXPRESSIONS))
    match = data.draw(
        st.from_regex(expression, fullmatch=True).filter(lambda text: text.isascii() and "\x1c" not in text)
    )
    if re2.fullmatch(expression, match) is None:
        return  # Python's classes are wider than RE2's
    cut = data.draw(st.integers(1, len(match)))
    prefix = data.draw(st.sampled_from(["", "see ", "(", "a b. "]))
    found = start(expression, prefix + match[:cut])
    assert found is not None
    assert found <= len(prefix)


DETECTORS = [
    SecretDetector(),
    ExfiltrationDetector(),
    DisclosureDetector(),
    PatternDetector([PatternDefinition(id="ref", regex=r"CR-[0-9]{6}", example="CR-204812")]),
    ListDetector([ListDefinition(id="w", values=("for internal eyes", "Zusage"))]),
]
PIECES = [
    "The password is ",
    "hunter2!Xq",
    "AKIA",
    "Q3EXAMPLE7",
    "7ABCDEFGHIJ",
    "\n",
    " ",
    ". ",
    "INTERNAL USE ONLY",
    "see ",
    "CR-20",
    "4812",
    "![x](",
    "https://evil.example/?d=",
    "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ",
    ")",
    "for internal ",
    "eyes",
    "zusage",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    "-----END PRIVATE KEY-----",
    "My system prompt says: ",
    "Classification: ",
    "restricted",
    "<img src=",
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map("".join), st.sampled_from(DETECTORS))
def test_no_finding_reaches_back_over_a_place_that_was_let_go(text, detector):
    """What a stream lets go early: a beginning in which the detector saw nothing and nothing was growing. No finding
    of the longer text may touch it."""
    growing = GrowingMatches(detector.growing)
    findings = detector.scan([text])[0].findings
    for end in [i for i in range(1, len(text)) if text[i - 1].isspace() and not text[i].isspace()]:
        word_end = len(text[:end].rstrip())
        for ahead in range(1, 5):  # a few characters of the next word may decide what one did not
            begun = growing.start(text[: end + ahead])
            beginning = text[:end] if ahead == 1 else text[: end + ahead]
            if (begun is None or begun >= word_end) and not detector.scan([beginning])[0].findings:
                assert all(finding.start >= word_end for finding in findings), (text, end, ahead)


def test_prose_is_not_held_back_as_the_beginning_of_a_number():
    growing = GrowingMatches(PiiPatterns().growing)
    for text in ["the b", "out e", "by the l", "She paid f", "Is it y"]:
        assert growing.start(text) is None or growing.start(text) >= text.rindex(" "), text


def test_an_exact_list_needs_the_whole_text():
    assert ListDetector([ListDefinition(id="x", values=("yes",), match=ListMatch.EXACT)]).growing is None
