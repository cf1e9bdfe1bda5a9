"""The answer gateway: policies, personal data, retrieval, escalation and audit between LLM clients and a model."""

import os

__version__ = "0.1.0"

# INVARIANT I9: ONNX Runtime reports its use to its maker and keeps an identifier of the machine, unless this stands in
# the environment before it is first imported (its `Privacy.md`; on Linux since 1.29). Here, because every module of
# ours comes after this one, and whatever was set before: nobody can switch it on for a gateway.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
