"""What a night leaves for people and for CI: the page of all nights, and `latest/`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from bench.judge.compare_documents import junit, markdown
from bench.nightly.config import Nightly
from bench.nightly.nights import SCHEMA, Night, as_bytes, read_nights
from bench.nightly.series import series_of
from bench.record.files import write_whole
from bench.report.history_page import write_history_page
from bench.report.words import choose_language

INDEX = "index.html"
LATEST = "latest"


def publish(config: Nightly, night: Night) -> Path:
    """Write latest/ for a night that is kept, and the index; the index's path.

    Raises NotValidError where the disk refuses it.
    """
    latest = config.path / LATEST
    latest.mkdir(parents=True, exist_ok=True)
    write_whole(latest / "night.json", as_bytes({"schema": SCHEMA, **asdict(night)}))
    write_whole(latest / "junit.xml", junit(f"{config.name}.{night.id}", night.change))
    write_whole(latest / "summary.md", _summary(config, night).encode())
    return publish_index(config)


def publish_index(config: Nightly) -> Path:
    """Write index.html from the nights that are kept."""
    nights = read_nights(config.path)
    path = config.path / INDEX
    language = choose_language(config.lang)
    return write_history_page(config.name, nights, series_of(nights), path, language=language)


def _summary(config: Nightly, night: Night) -> str:
    """The comparison, and which earlier night a metric changed in."""
    lines = [markdown(night.change, f"{config.name}, night {night.id} {night.label}".strip())]
    for series in series_of(read_nights(config.path)):
        for change in series.changes[-1:]:
            lines.append(
                f"- `{series.key}` changed its level in night `{change.night}`: {change.shown}."
            )
    return "\n".join(lines) + "\n"
