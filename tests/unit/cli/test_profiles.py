"""`bench profiles`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.profiles import command
from bench.errors import NotValidError


def test_alert_rules_that_can_not_be_written_are_told(tmp_path: Path) -> None:
    """A file that the disk refuses is an error of one line, not a traceback."""
    (tmp_path / "file").touch()
    options = ["alerts", "cluster-small", "-o", str(tmp_path / "file" / "alerts.yml")]
    with pytest.raises(NotValidError, match="can't write"):
        CliRunner().invoke(command, options, catch_exceptions=False)
