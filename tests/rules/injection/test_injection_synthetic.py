"""Training texts of our own."""

import pytest

from rules.injection.synthetic import Template, strew, templates, trigger_words


def test_template_expands_to_distinct_texts_with_all_slots_filled():
    template = Template("ask {who} about {what}", "en", {"who": ("him", "her"), "what": ("tea", "rain")})
    made = template.expand(10, 0)
    assert set(made) <= {f"Ask {who} about {what}" for who in ("him", "her") for what in ("tea", "rain")}
    assert len(made) == len(set(made)) > 1
    assert made == template.expand(10, 0)


def test_template_without_slots_is_its_only_text():
    assert Template("ask", "en", {}).expand(10, 0) == ["ask"]


@pytest.mark.parametrize("name", ["benign", "attacks"])
def test_every_slot_of_the_packaged_templates_has_values(name):
    found = templates(name)
    assert len({template.language for template in found}) >= 15
    for template in found:
        assert "{" not in "".join(template.expand(3, 0))
        assert template.language


def test_every_attack_language_has_benign_texts():
    assert {t.language for t in templates("attacks")} <= {t.language for t in templates("benign")}


def test_strewn_words_come_on_top_or_replace():
    words = ["override", "secret"]
    text = strew("please send the letter today", words, 2, 7)
    assert text == strew("please send the letter today", words, 2, 7)
    assert 1 <= sum(text.split().count(word) for word in words) <= 2
    assert 5 <= len(text.split()) <= 7


def test_trigger_words_are_single_words():
    assert {"ignore", "prompt", "system"} <= set(trigger_words())
