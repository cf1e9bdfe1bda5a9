"""Markings of internal documents and recited instructions, and prose that is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.signal import EMPTY_SCAN
from gateway.domain.vocabulary import Placement, SignalType
from rules.disclosure import DisclosureDetector

DETECTOR = DisclosureDetector()


def kinds(text: str) -> set[str]:
    (result,) = DETECTOR.scan([text])
    found = {finding.kind for finding in result.findings}
    assert result == EMPTY_SCAN if not found else result.values == {"disclosure.kinds": found}
    return {kind.removeprefix("disclosure.") for kind in found}


@pytest.mark.parametrize(
    "text",
    [
        "INTERNAL USE ONLY",
        "INTERNAL USE ONLY \u2013 branch staff. Do not hand out.",
        "The limit is 500 EUR. FOR INTERNAL USE ONLY",
        "For internal use only.\nThe limit is 500 EUR.",
        "The limit is 500 EUR. Not for onward distribution.",
        "Agent tools (Internal Only)",
        "Larkfield Bank | Confidential \u2013 internal use only | page 3",
        "LARKFIELD BANK \u2013 CONFIDENTIAL \u2013 Page 3 of 9",
        "[CONFIDENTIAL] Retention offers",
        "**Confidential**\n\nRetention offers",
        "RESTRICTED\nPay bands",
        "# Internal: Closing an account",
        "Classification: Restricted",
        "classification: internal",
        '"classification": "confidential"',
        "| Sensitivity | Strictly confidential |",
        "Data classification \u2013 Internal",
        "TLP:AMBER",
        "TLP: RED \u2013 incident summary",
        "Strictly confidential.",
        "This document is confidential and belongs to the bank.",
        "Private and Confidential",
        "Do not share outside the compliance team.",
        "Not to be shared with customers.",
        "Nur f\u00fcr den internen Gebrauch",
        "Streng vertraulich!",
        "Die Grenze liegt bei 500 EUR. Nicht zur Weitergabe an Dritte.",
        "Klassifizierung: vertraulich",
        "VS-NfD",
        "Vertraulich\nGehaltsb\u00e4nder",
        "\u00c0 usage interne uniquement.",
        "Diffusion restreinte",
        "Ne pas diffuser.",
        "Classification : confidentiel",
        "S\u00f3lo para uso interno.",
        "Estrictamente confidencial",
        "Clasificaci\u00f3n: restringido",
        "Solo per uso interno.",
        "Uso interno",
        "Uitsluitend voor intern gebruik.",
        "INTER\u200bNAL USE ONLY",
    ],
)
def test_a_marking_is_found(text: str) -> None:
    assert kinds(text) == {"marking"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "An internal transfer between your accounts is free.",
        "Your adviser keeps your data confidential and restricted to staff who need it.",
        "The medicine is for internal use.",
        "What does internal use mean?",
        "We will treat your complaint in strict confidence.",
        "The classification of the risk depends on your answers.",
        "Classification: public",
        "classification: general",
        "The Internal Revenue Service restricts withdrawals; the restricted account stays internal.",
        "Please do not share your PIN with anyone.",
        "Never forward a code that you received by SMS.",
        "Die internen Regeln sind vertraulich zu behandelnde Themen der Schulung.",
        "Vertraulichkeit ist uns wichtig: wir geben keine Daten weiter.",
        "Le service interne traite votre demande en toute confidentialit\u00e9.",
        "El uso interno de la tarjeta no tiene coste.",
        "Internal medicine, external medicine and surgery",
        "Secret Santa is on Friday",
        "- internal\n- external",
        "TLP:GREEN and TLP:CLEAR may be passed on",
    ],
)
def test_prose_about_internal_things_is_no_marking(text: str) -> None:
    assert kinds(text) == set()


@pytest.mark.parametrize(
    "text",
    [
        "My system prompt is: answer briefly.",
        "Sure! Here is my full system prompt: be kind",
        "Here's the system prompt:\nBe kind.",
        "Here are my hidden instructions: be kind",
        "My instructions say that I must not talk about rates.",
        "I was instructed to never mention competitors.",
        "I've been configured to only answer banking questions.",
        "You are a helpful assistant for the customers of Larkfield Bank.",
        'It begins with "You are Lark, a friendly banking assistant that answers briefly."',
        "> You are an AI language model, helpful and harmless.",
        "Mein System-Prompt lautet: sei nett.",
        "Du bist ein hilfreicher Assistent der Bank.",
        "\u00abTu es un assistant bancaire.",
        "Mon prompt syst\u00e8me est : r\u00e9ponds bri\u00e8vement.",
        "Mis instrucciones del sistema son: responde",
        "Eres un asistente del banco.",
        "<|im_start|>system\nBe kind",
        "### System:\nBe kind",
    ],
)
def test_recited_instructions_are_found(text: str) -> None:
    assert kinds(text) == {"prompt"}


@pytest.mark.parametrize(
    "text",
    [
        "My system prompt is confidential.",
        "I cannot share my system prompt.",
        "My system prompt is not something I can share.",
        "Mein System-Prompt ist vertraulich, daher sage ich nichts dazu.",
        "You are eligible for the card if you are an assistant manager of the branch.",
        "You are an assistant manager, so the staff rate applies.",
        "I was instructed to call you about my loan.",
        "A system prompt is a text that tells a model how to behave.",
        "Follow the instructions in the letter; the instructions say where to sign.",
        "The operating system message is shown when the disk is full.",
        "Du bist herzlich willkommen.",
    ],
)
def test_talk_about_instructions_is_no_disclosure(text: str) -> None:
    assert kinds(text) == set()


def test_findings_point_at_the_marking_itself() -> None:
    text = "\U0001f512 The limit is 500. Not for onward distribution. Classification: Restricted"
    (result,) = DETECTOR.scan([text])
    assert [text[finding.start : finding.end] for finding in result.findings] == [
        "Not for onward distribution",
        "Classification: Restricted",
    ]
    assert [finding.evidence for finding in result.findings] == ["phrase", "labelled"]


def test_both_kinds_at_once() -> None:
    assert kinds("INTERNAL USE ONLY\nMy system prompt says: be kind") == {"marking", "prompt"}


def test_declares_kinds() -> None:
    assert (DETECTOR.name, DETECTOR.placement) == ("disclosure", Placement.INLINE)
    assert DETECTOR.signals == {"disclosure.kinds": SignalType.KINDS}
    assert DisclosureDetector().version == DETECTOR.version


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_line_of_its_own_is_found_between_any_lines(before: str, after: str) -> None:
    assert "marking" in kinds(f"{before}\nINTERNAL USE ONLY\n{after}")
