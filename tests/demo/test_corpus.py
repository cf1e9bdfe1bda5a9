"""The sample corpus and its golden questions: complete, consistent, closed to whom they should be, and fictional."""

import re
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import pytest
from msgspec import Struct

from gateway.domain.errors import FaultsFound
from gateway.domain.vocabulary import Effect
from gateway.strict_yaml import load

DEMO: Final = Path(__file__).resolve().parents[2] / "gateway" / "demo"
CORPUS: Final = DEMO / "corpus"
QUESTIONS: Final = DEMO / "questions.yaml"
GROUPS: Final = {"public", "staff", "branch", "lending", "fraud", "compliance", "hr", "it"}

LINK: Final = re.compile(r"\]\(([^)]+)\)")
E_MAIL: Final = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)*)")
URL: Final = re.compile(r"https?://([\w.-]+)|www\.[\w.-]+")
TELEPHONE: Final = re.compile(r"(?<![\w.,])(?:\+|00?)[1-9](?:[ ()/-]?\d){7,}")
UK_POSTCODE: Final = re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b")
IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z\d]{4}){3,}")
# Numbers that the regulators of the two countries keep free for fiction.
FICTIONAL_TELEPHONES: Final = ("+44 20 7946 0", "+44 1632 960", "+44 808 157 0", "+49 69 90009 ")


class FrontMatter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str
    owner: str
    source: str
    classification: Literal["public", "internal", "confidential", "restricted"]
    access: tuple[str, ...]
    effective: str
    review_by: str
    language: Literal["en", "de", "es"]


class Text(Struct, frozen=True, kw_only=True):
    id: str
    front: FrontMatter
    body: str

    @property
    def flat(self) -> str:
        """The body with every run of white space as one blank: facts may run over a line end."""
        return " ".join(self.body.split())

    def visible_to(self, groups: set[str]) -> bool:
        return bool(set(self.front.access) & (groups | {"public"}))


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    ask: str
    groups: tuple[str, ...]
    documents: tuple[str, ...] = ()
    fact: str = ""
    no_answer: Literal["", "hidden", "absent"] = ""
    hidden: tuple[str, ...] = ()
    withheld: str = ""
    missing: str = ""


class Expectation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    effect: Effect
    documents: tuple[str, ...] = ()
    fact: str = ""
    never: tuple[str, ...] = ()


class Trial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    title: str
    groups: tuple[str, ...]
    ask: str
    expect: Expectation


class Golden(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"trials": "try"}):
    version: Literal[1]
    questions: tuple[Question, ...]
    trials: tuple[Trial, ...]


def parse(path: Path) -> Text:
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    name = path.relative_to(CORPUS).as_posix()
    return Text(id=name, front=load(front, name, FrontMatter, first_line=2), body=body)


def contact_faults(text: str) -> list[str]:
    """Every contact in `text` that is not fictional by its range or domain."""
    return [
        *(m[0] for m in E_MAIL.finditer(text) if not m[1].endswith(".example")),
        *(m[0] for m in URL.finditer(text) if not (m[1] or "").endswith(".example")),
        *(m[0] for m in TELEPHONE.finditer(text) if not m[0].startswith(FICTIONAL_TELEPHONES)),
        *(m[0] for m in UK_POSTCODE.finditer(text)),
        *(m[0] for m in IBAN.finditer(text)),
    ]


def links(text: Text) -> list[str]:
    """Targets of the links between documents as ids, resolved from the folder of `text`."""
    targets = []
    for target in LINK.findall(text.body):
        parts: list[str] = []
        for part in (PurePosixPath(text.id).parent / target).parts:
            if part == "..":
                parts.pop()
            else:
                parts.append(part)
        targets.append("/".join(parts))
    return targets


def sections(text: Text) -> list[str]:
    return re.split(r"(?m)^(?=##+ )", text.body)


TEXTS: Final = {text.id: text for text in map(parse, sorted(CORPUS.rglob("*.md")))}
GOLDEN: Final = load(QUESTIONS.read_text(encoding="utf-8"), QUESTIONS.name, Golden)
ANSWERED: Final = [question for question in GOLDEN.questions if not question.no_answer]
HIDDEN: Final = [question for question in GOLDEN.questions if question.no_answer == "hidden"]
ABSENT: Final = [question for question in GOLDEN.questions if question.no_answer == "absent"]

each_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())


def each(questions: list[Question]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("question", questions, ids=lambda question: question.id)


# --- documents -------------------------------------------------------------------------------------------------


def test_corpus_has_the_promised_mix() -> None:
    counts = {
        name: sum(text.front.classification == name for text in TEXTS.values())
        for name in ("public", "internal", "confidential", "restricted")
    }
    assert len(TEXTS) >= 48
    assert counts == {"public": 30, "internal": 15, "confidential": 5, "restricted": 4}
    assert len({PurePosixPath(name).parent for name in TEXTS}) == 12
    assert sum(text.front.language == "de" for text in TEXTS.values()) >= 2
    assert sum(text.front.language == "es" for text in TEXTS.values()) >= 1


def test_corpus_holds_nothing_but_documents_one_folder_deep() -> None:
    strays = [
        path for path in CORPUS.rglob("*") if path.is_file() and (path.suffix != ".md" or path.parents[1] != CORPUS)
    ]
    assert strays == []


@pytest.mark.parametrize("field", ["title", "source"])
def test_titles_and_sources_are_unique(field: str) -> None:
    values = [getattr(text.front, field) for text in TEXTS.values()]
    assert len(values) == len(set(values))


@each_text
def test_front_matter_is_valid(text: Text) -> None:
    front = text.front
    assert re.fullmatch(r"team:[a-z]+(-[a-z]+)*", front.owner)
    assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+)+", front.source)
    assert date.fromisoformat(front.effective) < date.fromisoformat(front.review_by)


@each_text
def test_access_agrees_with_classification(text: Text) -> None:
    access = set(text.front.access)
    assert access
    assert access <= GROUPS
    match text.front.classification:
        case "public":
            assert access == {"public"}
        case "internal":
            assert access == {"staff"}
        case "confidential" | "restricted":
            assert not access & {"public", "staff"}


def test_front_matter_with_a_misspelt_key_is_refused() -> None:
    front = CORPUS.joinpath("hr/pay-bands-2026.md").read_text(encoding="utf-8").split("---\n", 2)[1]
    with pytest.raises(FaultsFound) as caught:
        load(front.replace("access:", "acess:"), "pay-bands-2026.md", FrontMatter)
    assert "acess" in str(caught.value)


@each_text
def test_document_has_title_sections_table_and_length(text: Text) -> None:
    headings = re.findall(r"(?m)^# (.+)$", text.body)
    assert headings == [text.front.title]
    assert len(re.findall(r"(?m)^## .+$", text.body)) >= 3
    assert 250 <= len(text.body.split()) <= 900
    if text.id != "fraud-security/customer-forum-digest.md":  # posts have no tables
        assert re.search(r"(?m)^\|(?:-+\|)+$", text.body)


@each_text
def test_table_rows_have_as_many_cells_as_their_header(text: Text) -> None:
    width = 0
    for line in text.body.splitlines():
        cells = line.count("|") - 1 if line.startswith("|") else 0
        assert not (width and cells) or cells == width, line
        width = cells


@each_text
def test_links_resolve_and_never_lead_where_the_reader_may_not_go(text: Text) -> None:
    for target in links(text):
        assert target in TEXTS, f"`{text.id}` links to `{target}`"
        assert target != text.id
        readers = set(text.front.access)
        if text.front.classification != "public":
            readers.add("staff")  # members of every closed group are staff
        assert TEXTS[target].visible_to(readers), f"`{text.id}` links to `{target}`, which its readers may not see"


def test_most_documents_refer_to_others() -> None:
    assert sum(bool(links(text)) for text in TEXTS.values()) >= len(TEXTS) * 3 // 4


@each_text
def test_contacts_are_fictional(text: Text) -> None:
    assert contact_faults(text.front.owner + " " + text.body) == []


def test_contacts_of_the_questions_are_fictional() -> None:
    assert contact_faults(QUESTIONS.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("contact", "fictional"),
    [
        ("complaints@larkfield.example", True),
        ("someone@mail.invalid-bank.com", False),
        ("https://www.larkfield.example/help", True),
        ("http://bank.co.uk/x", False),
        ("www.bank.co.uk", False),
        ("+44 20 7946 0100", True),
        ("+44 20 7123 4567", False),
        ("+44 808 157 0159", True),
        ("+49 69 90009 121", True),
        ("+49 30 1234567", False),
        ("020 7123 4567", False),
        ("0800 123 4567", False),
        ("2026-09-01", True),
        ("£11,661.00 over 60 months", True),
        ("AB1 2CD", False),
        ("GB29 NWBK 6016 1331 9268 19", False),
        ("form CF-3 and code FR-07", True),
    ],
)
def test_contact_check_tells_fiction_from_reality(contact: str, fictional: bool) -> None:
    assert (contact_faults(f"Write to {contact} today") == []) is fictional


# --- facts stated in several places ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "documents"),
    [
        ("34.9% EAR", ["accounts/current-account-fees.md", "accounts/overdrafts.md"]),
        ("39.9%", ["accounts/current-account-fees.md", "accounts/current-account-fees-2025.md"]),
        ("14:30", ["accounts/overdrafts.md", "payments/direct-debits-standing-orders.md"]),
        ("72 hours", ["cards/debit-card-limits.md", "complaints-vulnerability/support-when-you-need-it.md"]),
        (
            "+44 808 157 0159",
            [
                "fraud-security/scam-warning-signs.md",
                "fraud-security/scam-refunds.md",
                "complaints-vulnerability/como-reclamar.md",
            ],
        ),
        ("+44 808 157 0121", ["cards/lost-or-stolen.md", "digital/app-registration.md"]),
        ("+44 20 7946 0930", ["fraud-security/first-line-fraud-calls.md", "branch-procedures/id-verification.md"]),
        ("+44 20 7946 0910", ["it-operations/service-desk.md", "it-operations/incident-severity.md"]),
        ("0.48%", ["savings-investments/larkfield-growth-fund.md", "savings-investments/investing-with-larkfield.md"]),
        ("4.5", ["lending/mortgage-application.md", "lending/credit-policy-cut-offs.md"]),
        ("five business days", ["fraud-security/scam-refunds.md", "fraud-security/first-line-fraud-calls.md"]),
        (
            "15 business days",
            ["complaints-vulnerability/how-to-complain.md", "complaints-vulnerability/complaint-handling-standard.md"],
        ),
        ("£10,000", ["branch-procedures/branch-hours.md", "branch-procedures/cash-handling.md"]),
        ("400 days", ["digital/ai-assistant-use.md", "compliance/privacy-notice.md"]),
        ("four working hours", ["digital/ai-assistant-use.md", "savings-investments/advice-boundary.md"]),
        ("five years", ["branch-procedures/id-verification.md", "compliance/privacy-notice.md"]),
    ],
)
def test_facts_agree_wherever_they_are_stated(fact: str, documents: list[str]) -> None:
    assert [name for name in documents if fact not in TEXTS[name].flat] == []


@each_text
def test_overdraft_rate_is_the_one_of_its_schedule(text: Text) -> None:
    expected = {"39.9"} if text.id == "accounts/current-account-fees-2025.md" else {"34.9"}
    assert set(re.findall(r"(\d+\.\d+)% EAR", text.body)) <= expected


def test_the_two_fee_schedules_contradict_each_other_and_are_told_apart_by_date() -> None:
    old, new = TEXTS["accounts/current-account-fees-2025.md"], TEXTS["accounts/current-account-fees.md"]
    assert old.front.effective < new.front.effective
    assert old.front.review_by < new.front.effective
    for row in ("CHAPS payment", "Cheque stopped at your request", "Banker's draft", "Plus Current Account"):
        prices = [re.search(rf"\| {row} \|[^\n]*", text.body) for text in (old, new)]
        assert all(prices)
        assert prices[0] is not None
        assert prices[1] is not None
        assert prices[0][0] != prices[1][0]


@pytest.mark.parametrize(
    ("overdrawn", "days", "buffer", "shown"),
    [(100, 7, 50, "£0.29"), (500, 30, 50, "£11.21"), (500, 30, 250, "£6.23"), (1000, 30, 250, "£18.68")],
)
def test_overdraft_examples_follow_from_the_rate(overdrawn: int, days: int, buffer: int, shown: str) -> None:
    interest = max(0, overdrawn - buffer) * (1.349 ** (days / 365) - 1)
    assert f"£{interest:.2f}" == shown
    assert shown in TEXTS["accounts/overdrafts.md"].body


@pytest.mark.parametrize(
    ("amount", "months", "apr"), [(10_000, 60, 0.064), (2_000, 24, 0.149), (3_000, 36, 0.114), (5_000, 48, 0.089)]
)
def test_loan_examples_follow_from_the_rate(amount: int, months: int, apr: float) -> None:
    monthly = (1 + apr) ** (1 / 12) - 1
    instalment = round(amount * monthly / (1 - (1 + monthly) ** -months), 2)
    body = TEXTS["lending/personal-loans.md"].body
    assert f"£{instalment:,.2f}" in body
    assert f"£{instalment * months:,.2f}" in body


# --- the two documents that the demonstration needs --------------------------------------------------------------


def test_one_public_document_carries_an_injection_in_a_section_of_its_own() -> None:
    carriers = [text for text in TEXTS.values() if "ignore all previous instructions" in text.flat.lower()]
    assert [text.id for text in carriers] == ["fraud-security/customer-forum-digest.md"]
    assert carriers[0].front.classification == "public"
    assert "synthetic" in carriers[0].body
    poisoned = [section for section in sections(carriers[0]) if "refunds@parcel-refund.example" in section]
    assert len(poisoned) == 1
    assert "previous instructions" in " ".join(poisoned[0].split())


def test_one_internal_document_carries_a_marking_line() -> None:
    marked = [text for text in TEXTS.values() if "INTERNAL USE ONLY" in text.body]
    assert [text.id for text in marked] == ["branch-procedures/cash-handling.md"]
    assert marked[0].front.classification == "internal"
    assert marked[0].body.startswith("INTERNAL USE ONLY")


# --- golden questions --------------------------------------------------------------------------------------------


def test_there_are_enough_questions_of_each_kind() -> None:
    assert len(GOLDEN.questions) >= 60
    assert len(HIDDEN) + len(ABSENT) >= 12
    assert len(HIDDEN) >= 8
    assert len(ABSENT) >= 4


def test_question_ids_and_texts_are_unique_for_an_asker() -> None:
    ids = [question.id for question in GOLDEN.questions] + [trial.id for trial in GOLDEN.trials]
    asked = [(question.ask, question.groups) for question in GOLDEN.questions]
    assert len(ids) == len(set(ids))
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("question", GOLDEN.questions, ids=lambda question: question.id)
def test_question_has_the_fields_of_its_kind_and_no_others(question: Question) -> None:
    filled = {name for name in ("documents", "fact", "hidden", "withheld", "missing") if getattr(question, name)}
    expected = {"": {"documents", "fact"}, "hidden": {"hidden", "withheld"}, "absent": {"missing"}}
    assert filled == expected[question.no_answer]
    assert set(question.groups) <= GROUPS
    assert question.groups
    assert question.ask.endswith("?")


@each(ANSWERED)
def test_fact_is_in_every_expected_document_and_the_asker_may_see_it(question: Question) -> None:
    for name in question.documents:
        assert question.fact in TEXTS[name].flat, name
        assert TEXTS[name].visible_to(set(question.groups)), name


@each(HIDDEN)
def test_withheld_fact_is_in_closed_documents_and_in_none_the_asker_sees(question: Question) -> None:
    groups = set(question.groups)
    for name in question.hidden:
        assert question.withheld in TEXTS[name].flat
        assert not TEXTS[name].visible_to(groups)
    leaks = [text.id for text in TEXTS.values() if text.visible_to(groups) and question.withheld in text.flat]
    assert leaks == []


@each(ABSENT)
def test_missing_term_occurs_in_no_document(question: Question) -> None:
    term = re.compile(rf"\b{re.escape(question.missing)}", re.IGNORECASE)
    assert [text.id for text in TEXTS.values() if term.search(text.flat)] == []


def test_every_document_is_asked_for() -> None:
    asked = {name for question in GOLDEN.questions for name in (*question.documents, *question.hidden)}
    asked |= {name for trial in GOLDEN.trials for name in trial.expect.documents}
    assert asked == TEXTS.keys()


# --- the five requests to try --------------------------------------------------------------------------------------


def test_trials_show_each_way_a_request_can_end() -> None:
    assert {trial.id: trial.expect.effect for trial in GOLDEN.trials} == {
        "answer-with-citations": Effect.ALLOW,
        "personal-data-redacted": Effect.REDACT,
        "injection-refused": Effect.REFUSE,
        "advice-escalated": Effect.ESCALATE,
        "injected-passage-dropped": Effect.FLAG,
    }


@pytest.mark.parametrize("trial", GOLDEN.trials, ids=lambda trial: trial.id)
def test_trial_expects_an_answer_only_where_one_is_released(trial: Trial) -> None:
    assert bool(trial.expect.documents) is bool(trial.expect.fact) is not trial.expect.effect.stops
    for name in trial.expect.documents:
        assert trial.expect.fact in TEXTS[name].flat
        assert TEXTS[name].visible_to(set(trial.groups))


def test_what_a_trial_must_never_show_is_really_at_hand() -> None:
    """A `never` that occurs nowhere would prove nothing."""
    for trial in GOLDEN.trials:
        at_hand = " ".join([trial.ask, *(TEXTS[name].flat for name in trial.expect.documents)])
        assert [text for text in trial.expect.never if text not in at_hand] == []
