"""Techniques of attack that can be named: regular expressions on the normalised text, in ten languages.

A hit is evidence and no verdict: "what does 'ignore all previous instructions' mean" hits too. The hits are inputs of
the model (`model.py`) and give names and places to what the model judges to be an attack.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import re2
from msgspec import Struct
from numpy.typing import NDArray

STRUCTURE_VERSION: Final = "1"

OVERRIDE: Final = "injection.override"
ROLE_PLAY: Final = "injection.role_play"
PROMPT_LEAK: Final = "injection.prompt_leak"
DELIMITER: Final = "injection.delimiter"
AUTHORITY: Final = "injection.authority"
INDIRECT: Final = "injection.indirect"
PAYLOAD: Final = "injection.payload"
ENCODED: Final = "injection.encoded"
INVISIBLE: Final = "injection.invisible"
OTHER: Final = "injection.other"


class Hit(Struct, frozen=True):
    """`[start, end)` of the normalised text shows the technique `kind`."""

    start: int
    end: int
    kind: str


_GAP: Final = r"\W+(?:\w+\W+){0,4}?"
_DROP: Final = (
    r"(?:ignor\w*|disregard\w*|forget|override|bypass|abandon|discard|drop|overlook|neglect|violate|break|skip"
    r"|do\s+not\s+(?:follow|obey)|don'?t\s+(?:follow|obey)|stop\s+(?:following|obeying)|pay\s+no\s+attention\s+to"
    r"|vergiss|missachte|olvid\w+|oubli\w+|dimentica\w*|negeer|vergeet|esque[cç]\w+|desconsider\w+|zignoruj|zapomnij"
    r"|gl[oö]m|yok\s+say|unut|игнорируй\w*|забудь\w*)"
)
_EARLIER: Final = (
    r"(?:all|any|every\w*|previous|prior|earlier|above|preceding|foregoing|existing|original|initial|your|system|these"
    r"|alle\w*|vorherige\w*|bisherige\w*|obige\w*|deine\w*|todas?|anteriores|tus|toutes?|pr[ée]c[ée]dentes|tes|tutte"
    r"|precedenti|tue|voorgaande|je|suas|wszystki\w+|poprzedni\w+|swoi\w+|alla|tidigare|dina|önceki|tüm|все|предыдущ\w+"
    r"|свои)"
)
_RULES: Final = (
    r"(?:instructions?|prompts?|directions?|directives?|rules?|guidelines?|constraints?|restrictions?|orders?|commands?"
    r"|training|programming|policy|policies|safety|safeguards?|filters?|limitations?|everything|told|said|context"
    r"|anweisung\w*|instruktion\w*|regeln?|vorgaben|richtlinien|instrucciones|reglas|directrices|consignes|r[èe]gles"
    r"|istruzioni|regole|direttive|instructies|regels|richtlijnen|instru[cç][oõ]es|regras|diretrizes|instrukcj\w+|zasad\w+"
    r"|instruktioner|regler|talimat\w*|kural\w*|инструкци\w+|правил\w*|указани\w+)"
)
_SHOW: Final = (
    r"(?:reveal|show|print|output|repeat|display|disclose|dump|leak|expose|share|tell\s+me|give\s+me|write\s+out|paste"
    r"|recite|append|summari[sz]e|what\s+(?:is|are|were|was)|zeige?|verrate?|nenne|gib|wiederhole|muestra\w*|revela\w*"
    r"|escribe|repite|montre\w*|r[ée]v[èe]le\w*|affiche|[ée]cris|r[ée]p[èe]te|mostra\w*|rivela|scrivi|toon|onthul|laat"
    r"|schrijf|mostre|revele|escreva|poka[zż]|ujawnij|visa|avsl[oö]ja|göster|açıkla|покажи|раскрой|повтори)"
)
_PROMPT: Final = (
    r"(?:(?:system|initial|original|hidden|secret|developer|internal|base|core|confidential|underlying|pre)[\s_-]*"
    r"(?:prompt|instructions?|message|directives?|configuration|guidelines|rules)|(?:your|the)\s+(?:full\s+|exact\s+)?"
    r"(?:prompt|instructions|initialization|configuration)|text\s+above|words\s+above|system-?prompt\w*"
    r"|geheime\w*\s+anweisungen|internen?\s+anweisungen|prompt\s+(?:del?|du|di|do)\s+sist\w+|prompt\s+syst[èe]me"
    r"|instrucciones\s+secretas|instructions\s+secr[èe]tes|istruzioni\s+segrete|geheime\s+instructies"
    r"|instru[cç][oõ]es\s+secretas|sist[ée]m\w*\s+\w*prompt\w*|системн\w+\s+\w+|секретн\w+\s+инструкци\w+)"
)
# The text is normalised: inside a word `|` has become `l`, `1` has become `i`.
_EXPRESSIONS: Final[tuple[tuple[str, str], ...]] = (
    (OVERRIDE, rf"\b{_DROP}{_GAP}{_EARLIER}\W+(?:\w+\W+){{0,3}}?{_RULES}\b"),
    (OVERRIDE, rf"\b(?:ignore|disregard|forget|override)\W+(?:the\W+|my\W+)?{_RULES}\b"),
    (
        OVERRIDE,
        r"(?:忽略|无视|忘记|不要理会).{0,8}(?:指令|指示|规则|规定|一切)|(?:指示|ルール|命令).{0,6}(?:無視|忘れ)",
    ),
    (OVERRIDE, r"(?:지시|규칙|명령).{0,8}(?:무시|잊)|تجاهل.{0,12}التعليمات|انس.{0,12}(?:قواعد|كل)|निर्देश.{0,12}अनदेखा"),
    (OVERRIDE, r"\bnew\W+(?:system\W+)?(?:instructions?|rules|directives?|orders)\W{0,3}(?::|from\b|are\b)"),
    (
        ROLE_PLAY,
        r"\byou\W+(?:are|will)\W+(?:now|henceforth)\b|\bfrom\W+now\W+on\W+you\b|\b(?:ab\W+jetzt|du)\W+bist\W+(?:du|jetzt)\b",
    ),
    (ROLE_PLAY, r"\b(?:do|does)\W+anything\W+now\b|\bDAN\b.{0,40}\b(?:anything|mode|alles|tout|todo|tutto)\b"),
    (
        ROLE_PLAY,
        (
            r"\b(?:no|without|any|free\W+(?:of|from)|bound\W+by)\W+(?:\w+\W+){0,3}?(?:restrictions|limitations|filters?"
            r"|guidelines|censorship|ethic\w*|moral\w*|content\W+polic\w+)\b|\b(?:unrestricted|unfiltered|uncensored|jailbr\w+"
            r"|amoral)\b"
        ),
    ),
    (ROLE_PLAY, r"\b(?:developer|debug|god|jailbreak|unrestricted|evil|opposite|sudo|admin)\W+mode\b"),
    (ROLE_PLAY, r"\b(?:stay|remain|never\W+break|break\w*)\W+(?:in\W+|out\W+of\W+)?character\b"),
    (
        ROLE_PLAY,
        r"\bohne\W+(?:jede\W+)?einschr[äa]nkung\w*|\bsin\W+(?:ning\w+\W+)?restricci\w+|\bsans\W+(?:aucune\W+)?restriction\w*",
    ),
    (ROLE_PLAY, r"没有任何限制|何の制限もない|아무 제한|без\W+каких-либо\W+ограничений|بلا أي قيود|बिना किसी प्रतिबंध"),
    (PROMPT_LEAK, rf"\b{_SHOW}{_GAP}{_PROMPT}"),
    (PROMPT_LEAK, r"\brepeat\W+(?:\w+\W+){0,4}?(?:above|verbatim|word\W+for\W+word)\b|\bverbatim\b"),
    (
        PROMPT_LEAK,
        r"(?:显示|输出|泄露).{0,12}(?:提示词|系统消息|秘密指令)|プロンプトを(?:表示|出力)|프롬프트를.{0,4}(?:보여|출력)",
    ),
    (
        DELIMITER,
        r"<[|l]?/?(?:im_start|im_end|system|assistant|user|endoftext|eot_id|start_header_id)[|l]?>|\[/?INST\]|<<SYS>>",
    ),
    (DELIMITER, r"(?m)^\s{0,3}(?:#{2,}|\[)\s*(?:system|instruction|response|new\s+instructions?|admin)\b[^\n]{0,24}"),
    (
        DELIMITER,
        r"(?m)^\s{0,3}(?:system|assistant)\s*:|\"role\"\s*:\s*\"system\"|<!--[^>]{0,200}\b(?:ignore|instruction|assistant)\b",
    ),
    (
        AUTHORITY,
        (
            r"\bi(?:'|\W+a)m\W+(?:your|the|an?)\W+(?:\w+\W+){0,2}?(?:developer|creator|admin\w*|engineer|programmer|owner)\b"
            r"|\b(?:authori[sz]ation|override|admin|root|access)\W+(?:code|granted|confirmed|mode|level)\b|\bsystem\W+override\b"
        ),
    ),
    (
        INDIRECT,
        (
            r"\b(?:when|if|while)\W+(?:you\W+)?(?:summar\w+|read\w*|process\w*|translat\w+)\W+(?:\w+\W+){0,4}?(?:add|include|say"
            r"|append|tell)\b|\b(?:do\W+not|don'?t|never)\W+(?:\w+\W+){0,2}?(?:mention|tell|reveal|disclose)\W+(?:\w+\W+){0,3}?"
            r"(?:user|this|that|these)\b"
        ),
    ),
    (
        INDIRECT,
        (
            r"\b(?:ai|llm|language)\W+(?:models?|assistants?|agents?)\W+(?:\w+\W+){0,5}?(?:must|should|are\W+required)\b"
            r"|\b(?:to|in|into|of)\W+your\W+(?:response|reply|answer|solution|output|code|implementation)\b"
        ),
    ),
    (
        PAYLOAD,
        r"\bos\.system\b|\b__import__\b|\brm\W+-rf\b|\bwhoami\b|/etc/passwd|\bchild_process\b|\bbash\W+-[ci]\b|/dev/tcp/",
    ),
    (
        PAYLOAD,
        r"\bpwned\b|\bdrop\W+table\b|\bunion\W+select\b|<script\b|\bcurl\W+-?\w*\W*https?:[^|\n]{0,200}\|\s*(?:ba)?sh\b",
    ),
)
# RE2's own `w`, `W` and `b` know ASCII alone. A border that is written out consumes a character; `_trimmed` gives it
# back. Beyond ASCII a word is all but the punctuation blocks: exact classes make the automaton a hundred times larger.
_LETTERS: Final = r"0-9A-Za-z_\x{C0}-\x{1FFF}\x{2070}-\x{2FFF}\x{3040}-\x{FEFF}\x{FF10}-\x{10FFFF}"
_UNICODE: Final = ((r"\w", f"[{_LETTERS}]"), (r"\W", f"[^{_LETTERS}]"), (r"\b", f"(?:^|$|[^{_LETTERS}])"))
_MAX_MEMORY: Final = 64 << 20  # bytes RE2 may use for the set's program and states
KINDS: Final[tuple[str, ...]] = (OVERRIDE, ROLE_PLAY, PROMPT_LEAK, DELIMITER, AUTHORITY, INDIRECT, PAYLOAD)
_OPENERS: Final = '<[#"/_'
_CLOSERS: Final = '>]":/'
_MAX_HITS: Final = 32  # of one expression in one text; more say nothing new


def _unicode(expression: str) -> str:
    for ascii_only, wide in _UNICODE:
        expression = expression.replace(ascii_only, wide)
    return expression


def _options() -> "re2.Options":
    options = re2.Options()
    options.case_sensitive = False
    options.never_nl = False
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    return options


def _compiled() -> "re2.Set":
    patterns = re2.Set.SearchSet(_options())
    for _, expression in _EXPRESSIONS:
        patterns.Add(_unicode(expression))
    patterns.Compile()
    return patterns


_SET: Final = _compiled()
_SINGLE: Final = tuple(re2.compile(_unicode(expression), _options()) for _, expression in _EXPRESSIONS)


def hits(text: str) -> list[Hit]:
    """Hits in the order of their places. Linear in the length of the text: one pass for the set, one for each
    expression that is in it."""
    text = _clean(text)
    found = [
        Hit(*_trimmed(text, match.start(), match.end()), _EXPRESSIONS[number][0])
        for number in matching(text)
        for _, match in zip(range(_MAX_HITS), _SINGLE[number].finditer(text), strict=False)
    ]
    return sorted(found, key=lambda hit: (hit.start, hit.end, hit.kind))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and not text[start].isalnum() and text[start] not in _OPENERS:
        start += 1
    while start < end and not text[end - 1].isalnum() and text[end - 1] not in _CLOSERS:
        end -= 1
    return start, end


def matching(text: str) -> Sequence[int]:
    """Numbers of the expressions that match anywhere, sorted."""
    return sorted(_SET.Match(_clean(text)) or ())


def _clean(text: str) -> str:
    """Lone surrogates, which RE2 does not take, as `?`; no place moves."""
    return text.encode("utf-8", "replace").decode("utf-8")


def structure_features(text: str) -> NDArray[np.float32]:
    """One flag for each expression, shape `(STRUCTURE_SIZE,)`."""
    row = np.zeros(STRUCTURE_SIZE, dtype=np.float32)
    row[list(matching(text))] = 1.0
    return row


STRUCTURE_SIZE: Final = len(_EXPRESSIONS)
