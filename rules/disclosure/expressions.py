"""The expressions behind the two kinds of disclosure, in RE2 syntax.

A marking is recognised by how it stands: beside a label, in capitals, or delimited on both sides by a line's edge,
punctuation or emphasis. The phrases alone would match ordinary prose.
"""

from typing import Final


def _any(*alternatives: str) -> str:
    return f"(?:{'|'.join(alternatives)})"


_LEVEL: Final = _any("strictly ", "highly ", "company ", "streng ", "tr\u00e8s ", "strictement ", "top ") + "?" + _any(
    "internal", "confidential", "restricted", "secret", "proprietary",
    "intern", "vertraulich", "geheim",
    "interne", "confidentiel(?:le)?", "restreinte?",
    "intern[oa]", "confidencial", "restringid[oa]", "reservad[oa]", "riservat[oa]", "confidenziale", "vertrouwelijk",
)  # fmt: skip

_LABEL: Final = _any("document ", "information ", "security ", "data ", "") + _any(
    "classification", "sensitivity(?: label)?", "confidentiality(?: level)?", "protective marking", "distribution",
    "klassifizierung", "klassifikation", "vertraulichkeit(?:sstufe|sgrad)?", "schutzklasse",
    "niveau de confidentialit\u00e9", "diffusion", "clasificaci\u00f3n", "nivel de confidencialidad",
    "classificazione", "classifica\u00e7\u00e3o", "classificatie",
)  # fmt: skip

_SPREADING: Final = _any("distribution", "circulation", "disclosure", "release", "dissemination", "use", "sharing")
_SPREAD: Final = _any("distribute", "forward", "circulate", "copy", "share", "disclose", "release", "publish") + "d?"
_OUTSIDE: Final = _any("outside", "externally", "beyond", "(?:with|to) (?:customers|clients|third parties)")
_PHRASE: Final = _any(
    "(?:for )?(?:internal|official|staff|employee|bank|company)(?: use| distribution| circulation)? only",
    "private (?:and|&) confidential",
    "confidential (?:and|&) proprietary",
    "proprietary (?:and|&) confidential",
    "(?:strictly|company) confidential",
    "commercial[ -]in[ -]confidence",
    rf"not (?:intended |cleared )?for (?:any )?(?:onward|external|further|public|general|customer) {_SPREADING}",
    rf"(?:do not|don't|must not be|may not be|not to be|never) {_SPREAD}(?: this document)? {_OUTSIDE}[^.!?|\n]*",
    "(?:restricted|limited|controlled) (?:distribution|circulation)(?: only)?",
    # German
    "(?:nur )?f\u00fcr den (?:rein )?(?:internen|innerbetrieblichen|dienstlichen) gebrauch(?: bestimmt)?",
    "nur (?:f\u00fcr den dienstgebrauch|intern|f\u00fcr interne zwecke|zur internen verwendung)",
    "streng (?:vertraulich|geheim)",
    "vertraulich behandeln",
    "vs[ -]nfd",
    "nicht zur (?:weitergabe|ver\u00f6ffentlichung|weiterleitung|verbreitung)(?: bestimmt)?(?: an dritte)?",
    "weitergabe an (?:dritte|kunden) (?:ist )?(?:nicht (?:gestattet|erlaubt)|untersagt|verboten)",
    # French
    "(?:\u00e0|pour) (?:un )?usage (?:strictement |exclusivement )?interne(?: uniquement| exclusivement| seulement)?",
    "strictement confidentiel(?:le)?",
    "document interne",
    "diffusion (?:restreinte|limit\u00e9e|interdite|interne)",
    "ne pas (?:diffuser|divulguer|transmettre)(?: (?:\u00e0|en|hors) [^.!?|\n]*)?",
    # Spanish
    "(?:(?:solo|s\u00f3lo|\u00fanicamente) )?para uso (?:estrictamente |exclusivamente )?interno(?: exclusivamente)?",
    "estrictamente confidencial",
    "documento interno",
    "difusi\u00f3n (?:restringida|limitada|interna)",
    "no (?:distribuir|divulgar|difundir)(?: (?:fuera|externamente|a terceros)[^.!?|\n]*)?",
    # Italian, Portuguese, Dutch
    "(?:solo|esclusivamente) per uso interno",
    "strettamente (?:riservato|confidenziale)",
    "(?:apenas |somente )?(?:para )?uso (?:exclusivamente )?interno",
    "estritamente confidencial",
    "(?:uitsluitend|alleen) voor intern gebruik",
    "strikt vertrouwelijk",
)
_CAPITAL_PHRASE: Final = _any(
    "(?:INTERNAL|OFFICIAL|STAFF|EMPLOYEE)(?: USE| DISTRIBUTION)? ONLY",
    "NOT FOR (?:ONWARD|EXTERNAL|PUBLIC|FURTHER|GENERAL) (?:DISTRIBUTION|CIRCULATION|DISCLOSURE|RELEASE|USE)",
    "(?:STRICTLY|COMPANY|PRIVATE AND|PRIVATE &) CONFIDENTIAL",
    "CONFIDENTIAL (?:AND|&) PROPRIETARY",
    "STRENG VERTRAULICH",
    "NUR F\u00dcR DEN (?:INTERNEN GEBRAUCH|DIENSTGEBRAUCH)",
    "USAGE INTERNE",
    "STRICTEMENT CONFIDENTIEL",
    "DIFFUSION RESTREINTE",
    "USO (?:EXCLUSIVO )?INTERNO",
    "ESTRICTAMENTE CONFIDENCIAL",
)
# Words that are a marking when they stand alone: some also as a title, the others are too common but in capitals.
_CAPITAL_WORD: Final = _any(
    "CONFIDENTIAL", "RESTRICTED", "INTERNAL", "SECRET", "VERTRAULICH", "GEHEIM", "INTERN", "CONFIDENTIEL",
    "CONFIDENCIAL", "RESERVADO", "RISERVATO", "VERTROUWELIJK",
)  # fmt: skip
_TITLE: Final = _any("(?:Strictly )?[Cc]onfidential", "Vertraulich", "Confidentiel", "Confidencial", "Riservato")

_BEFORE: Final = r"(?:^|[.!?|\x{2022}*_()\[\]#>:;/\x{2013}\x{2014}\"]|\s-)[ \t*_]*"
_AFTER: Final = r"[ \t*_]*(?:$|[.!?|\x{2022}*_()\[\]<:;,/\x{2013}\x{2014}\"]|-\s)"
_DOCUMENT: Final = _any(
    "document", "page", "memo", "manual", "guide", "note", "information", "content", "material", "file", "procedure",
    "policy", "e-?mail", "message", "report",
)  # fmt: skip
_KEPT: Final = "(?:is|remains|must be kept|must be treated as) (?:classified (?:as )?)?(?:strictly |highly )?"

MARKINGS: Final = {
    "labelled": rf"(?im)\b{_LABEL}[\"'*_ \t]{{0,4}}[:=|\x{{2013}}\x{{2014}}-][\"'*_ \t]{{0,4}}{_LEVEL}\b",
    "phrase": rf"(?im){_BEFORE}({_PHRASE}){_AFTER}",
    "capitals": rf"\b{_CAPITAL_PHRASE}\b",
    "statement": rf"(?i)\bthis {_DOCUMENT} {_KEPT}"
    + _any("confidential", "restricted", "proprietary", "for internal", "internal to", "only for staff")
    + r"\b",
    "traffic_light": r"\bTLP:\s?(?:AMBER(?:\+STRICT)?|RED)\b",
    "line": rf"(?m)^[ \t*_#>|\[(=]*({_any(_CAPITAL_WORD, _TITLE)})[ \t*_|\])=.!]*$",
    "heading": rf"(?m)^#{{1,6}}[ \t]*({_any(_CAPITAL_WORD, _TITLE, 'Internal', 'Restricted')})"
    r"[ \t]*[:\x{2013}\x{2014}-]",
    "part_of_line": r"(?m)(?:^|[|\x{2013}\x{2014}\x{2022}/\[(]|\s-)[ \t*_]*"
    rf"({_CAPITAL_WORD})[ \t*_]*(?:$|[|\x{{2013}}\x{{2014}}\x{{2022}}/\])]|-\s)",
}

_QUALITY: Final = _any("full", "complete", "exact", "original", "initial", "hidden", "secret", "internal", "entire")
_QUALITIES: Final = rf"(?:{_QUALITY}[ ,]{{1,2}}){{0,3}}"
_PROMPT: Final = _any(
    "system[ -]?(?:prompt|message|instructions?)",
    "(?:developer|hidden|initial|secret) (?:prompt|message|instructions?)",
)
_SAYS: Final = _any(
    r"(?:is|are|was|were|says?|said|reads?|begins?|starts?|states?|tells? me|includes?|contains?)\b",
    "[:=\u2013\u2014]",
    "follows?",
)
_QUOTE: Final = r"(?:^|[\"'`>:\x{201c}\x{201e}\x{ab}])[ \t*_#]*"
_ADJECTIVES: Final = r"(?:[^\s.,:;!?\"]+[ ,]{1,2})"
_PURPOSE: Final = _any(
    ",? (?:for|of|at|by|that|who|whose|named|called|designed|trained|built|created|helping|working|with|in)\\b",
    r"[.:;,]",
    r" \(",
)

PROMPTS: Final = {
    "own_prompt": r"(?i)\b(?:my|these are my|here(?:['\x{2019}]s| is| are)(?: my| the)?) "
    rf"{_QUALITIES}{_PROMPT}\s*{_SAYS}",
    "own_instructions": rf"(?i)\bmy {_QUALITIES}(?:instructions|guidelines|rules|directives) "
    + _any("say", "state", "tell me", "read", "forbid", "prohibit", "require me", "are to", "are as follows"),
    "instructed": r"(?i)\bI(?: am| was| have been|['\x{2019}]m|['\x{2019}]ve been) "
    "(?:instructed|configured|prompted) "
    + _any(
        "(?:not|never) to",
        "to (?:never|always|only|not|act|answer|respond|behave|follow|refuse|hide|avoid)",
        "by (?:my|the) (?:developers?|operators?|system)",
    ),
    "recital": rf"(?im){_QUOTE}(you are (?:an? |the )?{_ADJECTIVES}{{0,5}}"
    rf"(?:assistant|chat ?bot|ai|ai model|language model|virtual agent|support agent){_PURPOSE})",
    "recital_other": rf"(?im){_QUOTE}((?:du bist|sie sind|tu es|vous \x{{ea}}tes|eres|usted es|sei) "
    rf"{_ADJECTIVES}{{0,5}}(?:ki-)?(?:assist[ae]nte?n?|asistente|chatbot|sprachmodell)\b)",
    "own_prompt_other": r"(?i)\b"
    + _any(
        "meine? (?:system-?|geheime[nr]? |interne[nr]? )(?:prompt|anweisung(?:en)?) (?:lautet|lauten|ist|sind)",
        r"m(?:on|es) (?:prompt|message|instructions?) (?:(?:du )?syst\x{e8}me|initiale?s?|secr\x{e8}te?s?) "
        "(?:est|sont)",
        r"mis? (?:prompt|mensaje|instrucciones) (?:(?:del? )?sistema|iniciale?s?|secret[ao]s?) (?:es|son|dicen?)",
    ),
    "delimiter": r"<\|(?:im_start|start_header_id)\|>\s*system|<<SYS>>|<\|system\|>"
    r"|(?m:^#{2,4} ?System(?: ?Prompt| Message)?:?[ \t]*$)",
}
