"""What lies in the data folder, by name: the server and the commands open the same files."""

from typing import Final

AUDIT_FILE: Final = "audit.db"
CASES_FILE: Final = "cases.db"
CASES_LOCK: Final = "cases.lock"
IDENTITY_FILE: Final = "identity.db"
INDEX_DIR: Final = "index"
MASTER_KEY_FILE: Final = "master.key"
