"""The web pages of reviewers, auditors, policy authors and administrators."""
