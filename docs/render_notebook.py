"""Executes docs/analysis.ipynb against a run, stores its outputs, and renders it as analysis.md.

    python docs/render_notebook.py reports/20260101T120000Z-demo-1f3a

The cells name the run folder as `reports/RUN`; RUN stands for the one given here.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).with_name("analysis.ipynb")


def execute(notebook: dict[str, Any]) -> None:
    """Runs the code cells in one namespace; the value of a last expression is a cell's output."""
    names: dict[str, Any] = {}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {count}", "exec"), names)
        cell["execution_count"], cell["outputs"] = count, []
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names)
            cell["outputs"].append(
                {
                    "output_type": "execute_result",
                    "execution_count": count,
                    "metadata": {},
                    "data": {"text/plain": lines(repr(value))},
                }
            )


def lines(text: str) -> list[str]:
    """Lines as a notebook stores them, without the blanks that pandas pads an index with."""
    return "\n".join(line.rstrip() for line in text.splitlines()).splitlines(keepends=True)


def markdown(notebook: dict[str, Any]) -> str:
    """The notebook as text: code and outputs as fenced blocks."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts.append(f"```text\n{''.join(output['data']['text/plain'])}\n```")
    return "\n\n".join(parts) + "\n"


def main(run: Path) -> None:
    """Makes both files anew; cells see the run as reports/RUN in an empty folder."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        reports = Path(folder, "reports")
        reports.mkdir()
        (reports / "RUN").symlink_to(run.resolve())
        before = Path.cwd()
        os.chdir(folder)
        try:
            execute(notebook)
        finally:
            os.chdir(before)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    NOTEBOOK.with_suffix(".md").write_text(markdown(notebook), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
