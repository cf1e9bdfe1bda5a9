"""The answer gateway: policies, personal data, retrieval, escalation and audit between LLM clients and a model."""

__version__ = "0.1.0"
