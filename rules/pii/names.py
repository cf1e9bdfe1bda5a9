"""Which mentions of a model are worth reporting: a judgement on words, since models take any capital for a name."""

import re
from typing import Final

from rules.pii.mention import Mention

_PRODUCTS: Final = frozenset(
    """
    alexa alloydb android anthropic ansible apache aurora aws azure bard bedrock bert bitbucket bitcoin cassandra ceph chatgpt
    chrome chromium claude clickhouse cloudflare cobol cohere confluence consul copilot cortex couchbase cypher dall-e databricks
    datadog debian deepseek discord django docker dynamo dynamodb ebs ec2 ecs eks elasticsearch envoy ethereum excel fargate
    fastapi fedora figma firefox flask fluentd gcp gemini gemma git github gitlab gke golang gpt grafana graphql groovy grok
    hadoop hashicorp helm heroku hive html hubspot ibm iceberg istio jaeger java javascript jenkins jira julia jupyter
    k8s kafka keycloak keras kibana kotlin kubernetes lambda langchain laravel linkerd linux litellm llama llamaindex logstash loki lua
    mariadb matlab maven memcached minio mistral mixtral mongodb mysql nagios neo4j nginx nomad notion numpy okta ollama openai
    openshift opensearch oracle outlook palm pandas paypal perl phi php pinecone podman postgres postgresql powerpoint presidio
    prometheus pulumi puppet python pytorch qdrant qwen rabbitmq rails react redis redshift revolut ruby rust s3 salesforce sap
    scala sentry sharepoint siri slack snowflake solr sonnet opus haiku spark splunk spring sqlite stripe swift tableau teams
    tensorflow terraform tomcat traefik trino twilio typescript ubuntu vault venmo vercel vertica visa vue weaviate webex whatsapp
    windows word workday xcode yarn zabbix zelle zendesk zipkin zoom mastercard maestro amex swift sepa iban bic apple google meta
    microsoft amazon netflix facebook instagram tiktok twitter youtube linkedin
    """.split()
)
_CALENDAR: Final = frozenset(
    """
    january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept
    oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun today tomorrow yesterday
    easter christmas ramadan diwali hanukkah thanksgiving spring summer autumn fall winter januar februar märz mai juni juli
    oktober dezember montag dienstag mittwoch donnerstag freitag samstag sonntag lunes martes miércoles jueves viernes sábado
    domingo lundi mardi mercredi jeudi vendredi samedi dimanche
    """.split()
)
_ROLES: Final = frozenset(
    """
    account accountant admin administrator adviser advisor agent analyst applicant apr assistant atm auditor bank banker bearer
    beneficiary board borrower bot branch broker budget business buyer caller card cardholder cashier chair chairman chief
    child claim claimant client clerk colleague committee company compliance consultant contact cosigner counsel credit creditor
    customer dad deposit debit debtor department director disclosure doctor dispute document driver email employee employer engineer executor
    faq fee fees finance form founder fraud guarantor guardian guest guide head holder hospital hotline hr id
    insurance interest internal invoice it kyc lawyer lender loan lost ltd madam manager member merchant minister mom
    mortgage mother father nurse officer operator overdraft overview owner partner patient payee payer payment payroll pin plan platinum
    policy president principal procedure process product professor purpose rate receptionist recruiter
    reference relationship representative requirements reward rewards rule saver savings scope secretary section sender senior sir staff step student
    summary supervisor supplier support surgeon system table tax teacher team technician teller tenant terms the ticket trader
    transaction transfer treasurer trustee tutor underwriter user vendor verification warning wire workflow
    hello hi hey dear thanks thank regards sincerely please yes no ok okay note question answer context name address phone
    date subject re fwd welcome sorry congratulations
    """.split()
)
_NO_SURNAMES: Final = frozenset(
    """
    account accounts alert app application balance bank benefit benefits bonus card cards checking code company conditions corp
    credit credits department deposit exclusions fee fees form fund group guide id inc insurance limit limits llc loan loans
    ltd mortgage number offer payment payments plan plans policy portal product products program programme purchase purchases
    rate rates refund requirement requirements reward rewards rule rules savings section service services software statement
    support system team terms tips transaction transactions transfer transfers university version
    """.split()
)
"""The last word of a mention that is a thing."""

_NEVER: Final = _PRODUCTS | _CALENDAR | _ROLES | _NO_SURNAMES
_LEAD: Final = re.compile(
    r"(?i)(?:what|how|why|who|when|where|which|can|could|should|would|please|show|tell|explain|summari[sz]e|translate|write|"
    r"list|give|find|is|are|do|does|did|the|a|an|my|your|our|this|that|if|as|for|from|with|and|or|but|so|to|in|on|at|ask|call|"
    r"e-?mail|contact|send|pay|visit|meet|see|open|close|select|click|enter|verify|confirm|submit|review|check|update|apply|"
    r"customer|client|patient|user|account holder|manager|agent|dear|hello|hi|hey|thanks|thank you|regards|sincerely)[ \t:,]+"
)
_EDGE: Final = re.compile(r"^[\W_]+|(?:['\u2019]s)?[\W_]*$")
_WORD: Final = re.compile(r"[^\W_]+(?:[.'\u2019\-][^\W_]+)*")
_ORDINAL: Final = re.compile(r"(?i)\d+(?:st|nd|rd|th|am|pm|%|k|m)?")
_AGREED: Final = 0.9  # both models
_PLACE_SCORE: Final = 0.4  # a city or a country alone says little
_SURE: Final = 0.7  # of a single word without a capital or a digit


def judged(text: str, mention: Mention) -> list[Mention]:
    """The names and places in a mention: one per line, since models do not see that a line ends a name, cut to the
    words that matter, and none where the words cannot be meant."""
    kept: list[Mention] = []
    start = mention.start
    for line in text[mention.start : mention.end].splitlines(keepends=True):
        span = _judge(text, start, start + len(line), mention)
        if span is not None:
            score = _PLACE_SCORE if mention.kind == "LOCATION" else mention.score
            kept.append(Mention(*span, mention.kind, score))
        start += len(line)
    return kept


def with_agreement(mention: Mention) -> Mention:
    """The score of a mention that two models share."""
    if mention.kind != "PERSON":
        return mention
    return Mention(mention.start, mention.end, mention.kind, max(mention.score, _AGREED))


def _judge(text: str, start: int, end: int, mention: Mention) -> tuple[int, int] | None:
    start, end = _trimmed(text, start, end)
    if mention.kind == "PERSON":
        return _person(text, start, end)
    value = text[start:end]
    words = _words(value)
    if not words or all(_is_known(word) for word in words) or words[-1].lower() in _NO_SURNAMES:
        return None
    if mention.kind == "ADDRESS":
        alone = len(words) == 1 and not words[0].isdigit()
        unclear = _ORDINAL.fullmatch(value) and not (value.isdigit() and len(value) >= 2)
        return None if unclear or (alone and mention.score < _SURE) else (start, end)
    acronym = len(words) == 1 and value.isupper() and len(value) <= 4
    return None if acronym or len(value) < 3 or not any(map(str.isalpha, value)) else (start, end)


def _person(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The name, without leading function words and roles. None with digits or signs, for products, dates, roles and
    things, for a short acronym and for a single word in lower case."""
    while (lead := _LEAD.match(text, start, end)) is not None:
        start = lead.end()
    value = text[start:end]
    words = _words(value)
    if not words or len(value) < 2 or any(char.isdigit() or char in "@/\\<>{}=|_#" for char in value):
        return None
    if all(_is_known(word) for word in words) or words[-1].lower() in _NO_SURNAMES:
        return None
    if len(words) <= 2 and any(word.lower() in _PRODUCTS for word in words):
        return None
    if len(words) == 1 and (value.islower() or (value.isupper() and len(value) <= 5)):
        return None
    return start, end


def _words(value: str) -> list[str]:
    return [match.group() for match in _WORD.finditer(value)]


def _is_known(word: str) -> bool:
    bare = word.lower().strip(".")
    return bare in _NEVER or (bare.endswith("s") and bare[:-1] in _NEVER)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without punctuation at its edges and a possessive ending."""
    value = text[start:end]
    head = _EDGE.match(value)
    if head is not None and head.end() < len(value):
        start += head.end()
        value = text[start:end]
    tail = _EDGE.search(value, 1) if len(value) > 1 else None
    return start, start + (tail.start() if tail is not None else len(value))
