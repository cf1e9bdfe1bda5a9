"""The child process that parses what may be hostile: `python -m gateway.retrieval.parsing.worker`.

Reads requests from standard input and writes replies to standard output, each a MessagePack value after its length.
Its memory is bounded by the system; its time by whoever waits for it. It opens no file and no connection.
"""

import resource
import struct
import sys
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from gateway.retrieval.parsing.parse import parse
from gateway.retrieval.parsing.parsed import DocumentFormat, Parsed, ParseLimits, UnreadableDocument

LENGTH: Final = struct.Struct(">I")


class Request(Struct, frozen=True, kw_only=True, array_like=True):
    content: bytes
    format: DocumentFormat
    limits: ParseLimits

    def __repr__(self) -> str:
        return f"Request({self.format.value}, {len(self.content)} bytes)"


class Reply(Struct, frozen=True, kw_only=True, array_like=True):
    """Either `parsed` or `fault`, the message of an `UnreadableDocument`."""

    parsed: Parsed | None = None
    fault: str = ""


def answer(request: Request) -> Reply:
    try:
        return Reply(parsed=parse(request.content, request.format, request.limits))
    except UnreadableDocument as error:
        return Reply(fault=error.message)
    except MemoryError:
        return Reply(fault="the file takes too much memory: split it")
    except RecursionError:
        return Reply(fault="the file is nested too deeply: it is not sound")
    except Exception as error:  # noqa: BLE001 whatever a parser meets is a fault of this file, told without content
        return Reply(fault=f"the file cannot be parsed: {type(error).__name__}: save it anew")


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer until the input ends."""
    while header := requests.read(LENGTH.size):
        content = requests.read(LENGTH.unpack(header)[0])
        encoded = msgspec.msgpack.encode(answer(msgspec.msgpack.decode(content, type=Request)))
        replies.write(LENGTH.pack(len(encoded)) + encoded)
        replies.flush()


def main() -> None:
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold content
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
