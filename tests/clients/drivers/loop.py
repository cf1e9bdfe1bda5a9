"""What all drivers share: one JSON request a line in, one JSON result a line out, the same shape for every library."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def serve(operations: Mapping[str, Callable[..., Any]]) -> None:
    """Answer requests `{"operation", "arguments"}` until the input ends. Nothing else reaches the output."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = operations[request["operation"]](**request["arguments"])
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is what the user of the library sees
            result = {**nothing(), "error": told(error)}
        out.write(json.dumps(result) + "\n")
        out.flush()


def nothing() -> dict[str, Any]:
    """A result in which nothing has been seen yet."""
    return {
        "texts": [],  # the text of each choice, as the library shows it
        "finish": None,
        "calls": [],  # [name, arguments] with decoded arguments
        "id": None,
        "total_tokens": None,
        "tokens": None,  # of log-probabilities, in order
        "gateway": None,  # the `gateway` object, if the library keeps it
        "headers": {},  # `x-gateway-*`, if the library shows them
        "unknown": None,  # the field `x_top`, if the library keeps it
        "parsed": None,  # structured output
        "parts": 0,  # texts that arrived one by one in a stream
        "error": None,
    }


def told(error: BaseException) -> dict[str, Any]:
    """An exception as a test can see it."""
    return {
        "types": [kind.__name__ for kind in type(error).__mro__],
        "status": getattr(error, "status_code", None),
        "code": getattr(error, "code", None),
        "message": str(error),
    }


def gateway_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-gateway-")}
