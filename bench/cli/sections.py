"""A command whose many options stand under headings in its --help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


class Sectioned(click.Command):
    """`sections` maps the name of a heading's first option to the heading.

    Options stand in the order in which they are declared.
    """

    def __init__(self, *args: Any, sections: Mapping[str, str], **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown: dict[str, list[tuple[str, str]]] = {}
        heading = "Options"
        for parameter in self.get_params(ctx):
            heading = self.sections.get(parameter.name or "", heading)
            record = parameter.get_help_record(ctx)
            if record is not None:
                shown.setdefault(heading, []).append(record)
        for heading, records in shown.items():
            with formatter.section(heading):
                formatter.write_dl(records)
