"""`realtime`, and `python -m realtime`."""

from __future__ import annotations

import atexit
import os
import signal
from typing import NoReturn


def _end(number: int, _frame: object) -> NoReturn:
    # A traceback through somebody's imports tells nobody anything, and there is nothing to clean up yet.
    os._exit(128 + number)


def main() -> None:
    """The command line; Ctrl-C ends it without a word from its first moment to its last."""
    signal.signal(signal.SIGINT, _end)
    from realtime.commands.cli import main as cli  # noqa: PLC0415 - with the handler set, see above

    try:
        cli(prog_name="realtime")
    finally:
        # The command is over, its exit code known: Ctrl-C ends what Python waits for then, and nothing after that.
        signal.signal(signal.SIGINT, _end)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
