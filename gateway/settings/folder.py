"""What lies in the data folder, by name: the server and the commands open the same files."""

from typing import Final

AUDIT_FILE: Final = "audit.db"
AUDIT_LOCK: Final = "audit.lock"
BODIES_FILE: Final = "bodies.db"
BODY_KEYS_FILE: Final = "keys.db"
CASES_FILE: Final = "cases.db"
CASES_LOCK: Final = "cases.lock"
CONSOLE_FILE: Final = "console.db"
IDENTITY_FILE: Final = "identity.db"
INDEX_DIR: Final = "index"
INGEST_FILE: Final = "ingest.db"
INGEST_LOCK: Final = "ingest.lock"
SCANS_FILE: Final = "passage-scans.db"
MASTER_KEY_FILE: Final = "master.key"
METRICS_DIR: Final = "metrics"
POLICY_DIR: Final = "policy"
