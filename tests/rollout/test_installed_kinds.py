"""Kinds that policies may name: exactly what the detectors of this installation report."""

import pytest
from rollout_texts import NOW, write_set

from gateway.detectors import installed_kinds, installed_signals
from gateway.domain.errors import FaultsFound
from gateway.domain.vocabulary import SignalType
from gateway.policy import load_bundle
from gateway.settings import InspectionSettings
from rules.pii.presidio import _RECOGNIZERS
from rules.secrets.detector import SecretDetector


def test_every_signal_of_kinds_has_a_table_and_nothing_else_has() -> None:
    signals = installed_signals(InspectionSettings(guardrails=("length=module:Class",)))
    assert set(installed_kinds()) == {name for name, type_ in signals.items() if type_ is SignalType.KINDS}


def test_national_identifiers_are_those_of_their_recognisers() -> None:
    from presidio_analyzer import predefined_recognizers

    for name, kind in _RECOGNIZERS.items():
        assert getattr(predefined_recognizers, name)().supported_entities == [kind]


def test_what_a_detector_reports_is_in_its_table() -> None:
    (scan,) = SecretDetector().scan(["key AKIAQ3EGPT5ZXW7NLH4K of the build, aws"])
    assert scan.values["secrets.kinds"] <= installed_kinds()["secrets.kinds"]
    assert scan.values["secrets.kinds"]


@pytest.mark.parametrize(
    ("signal", "kind", "near"),
    [
        ("pii_patterns.entities", "CREDITCARD", "CREDIT_CARD"),
        ("secrets.kinds", "secret.aws_access_kye", "secret.aws_access_key"),
        ("injection.kinds", "injection.overide", "injection.override"),
    ],
)
def test_an_unknown_kind_is_a_fault_with_the_nearest_spelling(tmp_path, signal: str, kind: str, near: str) -> None:
    write_set(tmp_path, when={"all": [{"signal": signal, "any_of": [kind]}]})
    with pytest.raises(FaultsFound) as caught:
        load_bundle([tmp_path], signals=installed_signals(InspectionSettings()), kinds=installed_kinds(), now=NOW)
    (fault,) = caught.value.faults
    assert f"`{kind}`" in fault.message
    assert f"`{near}`" in fault.message
    write_set(tmp_path, when={"all": [{"signal": signal, "any_of": [near]}]})
    load_bundle([tmp_path], signals=installed_signals(InspectionSettings()), kinds=installed_kinds(), now=NOW)
