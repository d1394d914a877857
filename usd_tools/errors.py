"""Errors a user can act on, and the one place where they become an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad input, told in one line: the file or option, what was expected, and what to do.

    Raise it wherever the mistake is the user's to mend. Command lines turn it into `error: ...` on stderr
    and exit code 2; a traceback is reserved for our own bugs.
    """


def run_command(main: Callable[[], int | None]) -> None:
    """Runs a command's `main` and exits: 0 on success, 2 on a `UserError`, 130 on Ctrl-C.

    Failures of the file system (full disk, unwritable folder) are the user's to mend as well, so they are
    reported in one line too.
    """
    try:
        code = main() or 0
    except UserError as error:
        code = _report(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except OSError as error:
        if error.errno not in _FILE_SYSTEM_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        code = _report(f"{where}{error.strerror}: expected a writable place with space; give another path")
    except MemoryError as error:
        code = _report(f"out of memory ({error}); give smaller inputs or settings")
    sys.exit(code)


_FILE_SYSTEM_ERRORS = {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EFBIG}


def _report(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2
