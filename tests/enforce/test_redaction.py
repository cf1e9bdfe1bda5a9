import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.segment import Segment
from gateway.domain.signal import Finding
from gateway.domain.verdict import Redaction
from gateway.domain.vocabulary import Provenance, RedactOperator
from gateway.enforce.pseudonyms import PseudonymMap
from gateway.enforce.redaction import Redactor

KEY = b"k" * 32


def user(text: str) -> Segment:
    return Segment(index=0, text=text, provenance=Provenance.USER)


def found(start: int, end: int, kind: str = "PERSON", score: float = 0.9) -> Finding:
    return Finding(start=start, end=end, kind=kind, score=score, detector="test")


def rule(operator: RedactOperator, *kinds: str, provenances: frozenset[Provenance] = frozenset()) -> Redaction:
    return Redaction(rule="R1", kinds=frozenset(kinds), operator=operator, provenances=provenances)


def redact(text: str, findings: list[Finding], *rules: Redaction) -> str:
    return Redactor(PseudonymMap([text]), KEY).redact(user(text), findings, rules, brought=True).text


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (RedactOperator.PSEUDONYM, "Ask <PERSON_1> now"),
        (RedactOperator.MASK, "Ask [PERSON] now"),
        (RedactOperator.REMOVE, "Ask  now"),
        (RedactOperator.BIN_LAST4, "Ask [PERSON] now"),
    ],
)
def test_each_operator_replaces_the_span_and_nothing_else(operator, expected):
    assert redact("Ask Zoe now", [found(4, 7)], rule(operator, "PERSON")) == expected


def test_bin_and_last_four_of_a_card():
    text = "4111 1111 1111 1234"
    assert redact(text, [found(0, 19, "CREDIT_CARD")], rule(RedactOperator.BIN_LAST4, "*")) == "411111******1234"


def test_hashes_are_keyed_and_equal_for_equal_values():
    text = "Zoe and Zoe"
    findings = [found(0, 3), found(8, 11)]
    one = redact(text, findings, rule(RedactOperator.HASH, "PERSON"))
    first, _, second = one.partition(" and ")
    assert first == second
    other = Redactor(PseudonymMap(), b"o" * 32).redact(
        user(text), findings, [rule(RedactOperator.HASH, "PERSON")], brought=True
    )
    assert other.text != one


def test_the_operator_that_shows_less_wins_for_a_kind_and_for_overlapping_spans():
    rules = [rule(RedactOperator.PSEUDONYM, "PERSON"), rule(RedactOperator.MASK, "PERSON")]
    assert redact("Ask Zoe now", [found(4, 7)], *rules) == "Ask [PERSON] now"
    overlapping = [found(4, 7), found(6, 12, "EMAIL", 1.0)]
    both = [rule(RedactOperator.PSEUDONYM, "PERSON"), rule(RedactOperator.MASK, "EMAIL")]
    assert redact("Ask zoe@qu.ex now", overlapping, *both) == "Ask [EMAIL]x now"


def test_kinds_and_provenances_that_no_rule_names_stay():
    only_tool = rule(RedactOperator.MASK, "PERSON", provenances=frozenset({Provenance.TOOL}))
    assert redact("Ask Zoe now", [found(4, 7)], only_tool) == "Ask Zoe now"
    assert redact("Ask Zoe now", [found(4, 7)], rule(RedactOperator.MASK, "EMAIL")) == "Ask Zoe now"


def test_a_stand_in_is_not_redacted_again():
    assert redact("Ask <PERSON_1> now", [found(5, 13)], rule(RedactOperator.MASK, "*")) == "Ask <PERSON_1> now"


def test_counts_are_reported_by_kind():
    redacted = Redactor(PseudonymMap(), KEY).redact(
        user("Zoe Bram"), [found(0, 3), found(4, 8)], [rule(RedactOperator.MASK, "PERSON")], brought=True
    )
    assert redacted.kinds == {"PERSON": 2}


class TestPseudonyms:
    def test_equal_values_share_a_token_and_numbers_follow_appearance(self):
        names = PseudonymMap()
        assert names.token("PERSON", "Zoe Quill") == "<PERSON_1>"
        assert names.token("PERSON", "Bram") == "<PERSON_2>"
        assert names.token("PERSON", "zoe  quill") == "<PERSON_1>"

    def test_a_token_that_the_user_typed_is_never_given_to_a_value(self):
        names = PseudonymMap(["what is <PERSON_1>?"])
        assert names.token("PERSON", "Zoe") == "<PERSON_2>"
        assert names.restore("<PERSON_1> met <PERSON_2>") == "<PERSON_1> met Zoe"

    def test_one_request_cannot_unmask_with_another_requests_values(self):
        first, second = PseudonymMap(), PseudonymMap()
        first.token("PERSON", "Zoe")
        second.token("PERSON", "Bram")
        assert second.restore("<PERSON_1>") == "Bram"
        assert PseudonymMap().restore("<PERSON_1>") == "<PERSON_1>"

    def test_restored_values_are_not_searched_again(self):
        names = PseudonymMap()
        names.token("NOTE", "see <PERSON_1>")
        names.token("PERSON", "Zoe")
        assert names.restore("<NOTE_1>") == "see <PERSON_1>"

    def test_inside_json_a_value_is_escaped(self):
        names = PseudonymMap()
        names.token("PERSON", 'Zoe "Q"\nQuill')
        assert names.restore_in_json_text('{"to":"<PERSON_1>"}') == '{"to":"Zoe \\"Q\\"\\nQuill"}'

    def test_a_value_that_the_request_did_not_bring_stays_hidden(self):
        names = PseudonymMap()
        assert names.restore(names.token("PERSON", "Zoe", restorable=False)) == "<PERSON_1>"

    def test_without_tokens_removes_only_our_own(self):
        names = PseudonymMap(["<X_1>"])
        names.token("PERSON", "Zoe")
        assert names.without_tokens("ask <PERSON_1> about <X_1>") == "ask   about <X_1>"

    def test_representation_shows_no_value(self):
        names = PseudonymMap()
        names.token("PERSON", "Zoe")
        assert repr(names) == "PseudonymMap(1 values)"


@given(
    st.text(alphabet="abc <>_1PERSON", max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6),
)
def test_pseudonyms_restore_to_the_original(text, spans):
    """Redact with stand-ins, then restore: the text is as it was, whatever it looked like."""
    findings = [found(a, b) for a, b in spans if a < b <= len(text)]
    redactor = Redactor(PseudonymMap([text]), KEY)
    redacted = redactor.redact(user(text), findings, [rule(RedactOperator.PSEUDONYM, "PERSON")], brought=True)
    restored = redactor.pseudonyms.restore(redacted.text)
    assert " ".join(restored.casefold().split()) == " ".join(text.casefold().split())
