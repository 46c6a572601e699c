"""The error tree.  Every mistake a user can make ends as one of these, never as a traceback.

BenchError
├── UsageError          a wrong option, file, recipe, profile        exit 2
│   ├── ConfigError     recipe, profile or checklist YAML
│   ├── TraceError      a trace file that can't be read as its format
│   └── RunFolderError  a run folder that can't be read
├── TargetError         the server can't be reached or used           exit 5
└── NotValidError       a run was made but can't be trusted           exit 4
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a `bench` command tells the shell, one sentence each."""

    PASS = 0  # Every objective that was judged is met, or none was asked for.
    BUG = 1  # The harness itself failed; please report it.
    USAGE = 2  # The command, a recipe, a profile or a trace file is wrong.
    OBJECTIVE_FAILED = 3  # The run is valid and at least one objective failed.
    UNDECIDED = 4  # The run is not valid, or too small for a verdict.
    TARGET_UNUSABLE = 5  # The server can't be reached, or refuses to serve.
    INTERRUPTED = 130  # Stopped by the user; what was measured is kept.
    UNREAD = 141  # Whoever read the output closed it before its end (128 + SIGPIPE).


class BenchError(Exception):
    """A mistake or a condition to be told to the user in one or two lines.

    `message` says what, where, expected and got; `hint` says what to do.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[BenchError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class UsageError(BenchError):
    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """A recipe, profile or checklist is wrong; the message names file, line and field."""


class TraceError(UsageError):
    """A trace file is wrong; the message names file and line."""


class RunFolderError(UsageError):
    """A run folder is missing, incomplete or of a schema that can't be read."""


class TargetError(BenchError):
    """The server under test can't be reached, or can't do what the run needs."""

    exit_code = ExitCode.TARGET_UNUSABLE


class NotValidError(BenchError):
    """The measurement can't be trusted."""

    exit_code = ExitCode.UNDECIDED
