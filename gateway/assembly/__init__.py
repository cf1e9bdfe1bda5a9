"""Builds the parts of a worker process, one module an area; `gateway.app` calls each once."""
