"""Words that models take for names: products, the calendar, roles, and things that follow a name-like word."""

from typing import Final

_PRODUCTS = """
alexa alloydb amazon amex android ansible anthropic apache apple aurora aws azure bard bedrock bert bic
bitbucket bitcoin cassandra ceph chatgpt chrome chromium claude clickhouse cloudflare cobol cohere confluence
consul copilot cortex couchbase cypher dall-e databricks datadog debian deepseek discord django docker dynamo
dynamodb ebs ec2 ecs eks elasticsearch envoy ethereum excel facebook fargate fastapi fedora figma firefox flask
fluentd gcp gemini gemma git github gitlab gke golang google gpt grafana graphql grok groovy hadoop haiku
hashicorp helm heroku hive html hubspot iban ibm iceberg instagram istio jaeger java javascript jenkins jira
julia jupyter k8s kafka keras keycloak kibana kotlin kubernetes lambda langchain laravel linkedin linkerd linux
litellm llama llamaindex logstash loki lua maestro mariadb mastercard matlab maven memcached meta microsoft
minio mistral mixtral mongodb mysql nagios neo4j netflix nginx nomad notion numpy okta ollama openai opensearch
openshift opus oracle outlook palm pandas paypal perl phi php pinecone podman postgres postgresql powerpoint
presidio prometheus pulumi puppet python pytorch qdrant qwen rabbitmq rails react redis redshift revolut ruby
rust s3 salesforce sap scala sentry sepa sharepoint siri slack snowflake solr sonnet spark splunk spring sqlite
stripe swift tableau teams tensorflow terraform tiktok tomcat traefik trino twilio twitter typescript ubuntu
vault venmo vercel vertica visa vue weaviate webex whatsapp windows word workday xcode yarn youtube zabbix zelle
zendesk zipkin zoom
"""
PRODUCTS: Final = frozenset(_PRODUCTS.split())

_CALENDAR = """
apr april aug august autumn christmas dec december dezember dienstag dimanche diwali domingo donnerstag easter
fall feb februar february freitag fri friday hanukkah jan januar january jeudi jueves jul juli july jun june
juni lundi lunes mai mar march mardi martes may mercredi mittwoch miércoles mon monday montag märz nov november
oct october oktober ramadan samedi samstag sat saturday sep sept september sonntag spring summer sun sunday
sábado thanksgiving thu thursday today tomorrow tue tuesday vendredi viernes wed wednesday winter yesterday
"""
CALENDAR: Final = frozenset(_CALENDAR.split())

_ROLES = """
account accountant address admin administrator adviser advisor agent analyst answer applicant apr assistant atm
auditor bank banker bearer beneficiary board borrower bot branch broker budget business buyer caller card
cardholder cashier chair chairman chief child claim claimant clerk client colleague committee company compliance
congratulations consultant contact context cosigner counsel credit creditor customer dad date dear debit debtor
department deposit director disclosure dispute doctor document driver email employee employer engineer executor
faq father fee fees finance form founder fraud fwd guarantor guardian guest guide head hello hey hi holder
hospital hotline hr id insurance interest internal invoice it kyc lawyer lender loan lost ltd madam manager
member merchant minister mom mortgage mother name no note nurse officer ok okay operator overdraft overview
owner partner patient payee payer payment payroll phone pin plan platinum please policy president principal
procedure process product professor purpose question rate re receptionist recruiter reference regards
relationship representative requirements reward rewards rule saver savings scope secretary section sender senior
sincerely sir sorry staff step student subject summary supervisor supplier support surgeon system table tax
teacher team technician teller tenant terms thank thanks the ticket trader transaction transfer treasurer
trustee tutor underwriter user vendor verification warning welcome wire workflow yes
"""
ROLES: Final = frozenset(_ROLES.split())

_THINGS = """
account accounts alert app application balance bank benefit benefits bonus card cards checking code company
conditions corp credit credits department deposit exclusions fee fees form fund group guide id inc insurance
limit limits llc loan loans ltd mortgage number offer payment payments plan plans policy portal product products
program programme purchase purchases rate rates refund requirement requirements reward rewards rule rules
savings section service services software statement support system team terms tips transaction transactions
transfer transfers university version
"""
THINGS: Final = frozenset(_THINGS.split())
"""As the last word of a mention they say that it is no person."""

_LEADS = """
a agent an and apply are as ask at but call can check click client close confirm contact could customer dear did
do does e-mail email enter explain find for from give hello hey hi how if in is list manager meet my on open or
our patient pay please regards remind review see select send should show sincerely so submit summarise summarize
tell text thanks that the this to translate update user verify visit what when where which who why with would
write your
"""
LEADS: Final = frozenset(_LEADS.split())
"""Words before a name that models draw into it, most of them because a sentence begins with them."""
