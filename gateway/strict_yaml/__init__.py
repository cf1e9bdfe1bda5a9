"""YAML that means one thing: read with places, decoded into frozen structs, all faults reported together."""

from gateway.strict_yaml.decode import Document, decode, load, load_document
from gateway.strict_yaml.node import Entry, Hole, Items, Mapping, Node, Scalar
from gateway.strict_yaml.read import FORBIDDEN, MAX_CHARS, MAX_DEPTH, MAX_NODES, read
from gateway.strict_yaml.spelling import listed, nearest, quoted, suggestion

__all__ = [
    "FORBIDDEN",
    "MAX_CHARS",
    "MAX_DEPTH",
    "MAX_NODES",
    "Document",
    "Entry",
    "Hole",
    "Items",
    "Mapping",
    "Node",
    "Scalar",
    "decode",
    "listed",
    "load",
    "load_document",
    "nearest",
    "quoted",
    "read",
    "suggestion",
]
