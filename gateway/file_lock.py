"""Which one of several processes of a machine does something."""

import fcntl


def taken(descriptor: int) -> bool:
    """Whether this open file has the exclusive lock now; does not wait for whoever else has it. The lock ends when
    the last descriptor of the open file is closed, also by a process that dies. Raises `OSError`."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
