"""Secrets in texts: keys, tokens, private keys, passwords.

Finds: tokens by the formats of their issuers, JSON web tokens whose header decodes, PEM private keys (the whole
block, also one that never ends), passwords in connection strings and addresses, credentials in headers, and values
that are called a password, key or token and look like one. Placeholders (`<your key>`, `xxxx`, `changeme`), UUIDs,
hashes and numbers outside such a context are no secrets.

Misses: passwords that are plain words, secrets without a known format that nothing names, secrets split over
messages or encoded. Costs: one pass of about 3 ns a byte, and microseconds for each candidate.
"""

from rules.secrets.detector import SecretDetector

__all__ = ["SecretDetector"]
