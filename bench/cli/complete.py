"""Shell completion of names that travel with the package; files are completed beside them."""

from __future__ import annotations

from click import Context, Parameter
from click.shell_completion import CompletionItem

from bench.shipped import shipped


def recipe_names(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped recipes, or files."""
    return _names("workloads", incomplete)


def profile_names(context: Context, parameter: Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped profiles, or files."""
    return _names("profiles", incomplete)


def _names(folder: str, incomplete: str) -> list[CompletionItem]:
    names = sorted(path.stem for path in shipped(folder).glob("*.yaml"))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]
