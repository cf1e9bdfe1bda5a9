from datetime import timedelta

import pytest
from msgspec import structs

from gateway.cases.case import CaseState
from gateway.cases.terms import FETCH_WINDOW, binding_of, content_of, new_case, terms_of
from gateway.domain.verdict import Escalation

KEY = bytes(32)


def escalation(queue: str, sla_s: int, approvals: int = 1) -> Escalation:
    return Escalation(rule="R", queue=queue, sla_s=sla_s, approvals=approvals)


@pytest.mark.parametrize(
    ("escalations", "queue", "hours", "approvals"),
    [
        ([escalation("credit", 3600)], "credit", 1, 1),
        ([escalation("slow", 7200, 2), escalation("fast", 3600)], "fast", 1, 2),
        ([escalation("b", 3600), escalation("a", 3600, 2)], "a", 1, 2),
    ],
)
def test_the_strictest_terms_count_in_any_order(draft, escalations, queue, hours, approvals) -> None:
    for ordered in (escalations, escalations[::-1]):
        made = draft(escalations=tuple(ordered))
        terms = terms_of(made)
        assert (terms.queue, terms.approvals) == (queue, approvals)
        assert terms.due == made.opened + timedelta(hours=hours)
        assert terms.expires == terms.due + FETCH_WINDOW


def test_a_case_needs_an_escalation(draft) -> None:
    with pytest.raises(ValueError, match="without an escalation"):
        terms_of(draft(escalations=()))


def test_a_new_case_is_queued_at_its_first_revision(draft) -> None:
    case = new_case("case_1", draft(), KEY)
    assert (case.state, case.revision, case.queue, case.approvals) == (CaseState.QUEUED, 1, "credit", 2)
    assert "canary" not in repr(case)
    assert "canary" not in repr(content_of(draft()))


def test_the_binding_moves_with_everything_that_an_approval_is_for(draft) -> None:
    base = draft()
    expires = terms_of(base).expires
    passage = base.passages[0]
    others = [
        draft(tenant="other"),
        draft(app="other"),
        draft(principal="p:9"),
        draft(fingerprint="0" * 64),
        draft(policy="sha256:cd"),
        draft(candidate="another answer"),
        draft(passages=()),
        draft(passages=(structs.replace(passage, revision="10"),)),
        draft(passages=(structs.replace(passage, number=4),)),
        draft(tenant="acmel", app="oans"),  # parts do not run into each other
    ]
    bindings = {binding_of(other, expires, KEY) for other in [base, *others]}
    bindings |= {binding_of(base, expires + timedelta(1), KEY), binding_of(base, expires, b"k" * 32)}
    assert len(bindings) == len(others) + 3
    two = (passage, structs.replace(passage, doc="z"))
    assert binding_of(draft(passages=two), expires, KEY) == binding_of(draft(passages=two[::-1]), expires, KEY)
