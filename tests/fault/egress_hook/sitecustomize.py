"""Python imports this by itself at the start of a process whose path holds this folder: it notes, one JSON object a
line, each contact that Python code makes, and each program that it starts. Libraries in C are watched by the kernel's
counters instead (`egress_driver.py`)."""

import json
import os
import sys

CONTACTS = os.environ["EGRESS_CONTACTS"]
WATCHED = {
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "socket.sendto",
    "socket.sendmsg",
    "subprocess.Popen",
    "os.posix_spawn",
    "os.exec",
    "os.system",
}


def note(event: str, arguments: tuple[object, ...]) -> None:
    if event in WATCHED:
        what = arguments[1] if event.startswith("socket.connect") else arguments[0]
        line = json.dumps({"event": event, "what": str(what), "pid": os.getpid()}) + "\n"
        descriptor = os.open(CONTACTS, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)


sys.addaudithook(note)
