"""bench.yamlfile: values read as they look, errors that name file, line, field, expectation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from bench.errors import ConfigError
from bench.yamlfile import StrictModel, expand_env, load_yaml_model, parse_yaml, validate


class Fixed(StrictModel):
    kind: Literal["fixed"]
    value: float = Field(gt=0)


class Many(StrictModel):
    kind: Literal["many"]
    items: tuple[Fixed, ...] = ()


class Whole(StrictModel):
    name: str
    count: int | None = None
    part: Annotated[Fixed | Many, Field(discriminator="kind")] = Fixed(kind="fixed", value=1)
    by_name: dict[str, Fixed] = Field(default_factory=dict)


def error_of(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        validate(parse_yaml(text, "w.yaml"), Whole)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("010", "010"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("10_000", 10_000),
        ("-3", -3),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("'7'", "7"),
        ("[1, 2.0]", [1, 2.0]),
        ("", None),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    """Only core-schema scalars become numbers, booleans or null; the rest is text."""
    read = parse_yaml(f"x: {text}").value["x"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "field", "says", "hint"),
    [
        ("name: a\ncuont: 3", 2, "cuont", "unknown field", 'did you mean "count"?'),
        ("name: a\ncount: x", 2, "count", 'expected integer, got "x"', ""),
        ("name: a\ncount: true", 2, "count", "got true", ""),
        ("name: a\npart:\n  kind: fixed\n  value: -1", 4, "part.value", "greater than 0", ""),
        ("name: a\npart:\n  value: 1\n  kind: fixd", 4, "part.kind", "fixed, many", '"fixed"'),
        ("name: a\npart: {value: 1}", 2, "part", "kind", ""),
        (
            "name: a\npart:\n  kind: many\n  items:\n  - kind: fixed\n    valu: 3",
            6,
            "part.items[0].valu",
            "unknown field",
            '"value"',
        ),
        ("name: a\nby_name:\n  z:\n    kind: fixed\n    val: 2", 5, "by_name.z.val", "", '"value"'),
        ("name: a\npart: {kind: fixed, value: .inf}", 2, "part.value", "finite", ""),
        ("count: 1", 1, "name", "required", ""),
        ("", 1, "name", "required", ""),
    ],
)
def test_an_error_names_its_place(text: str, line: int, field: str, says: str, hint: str) -> None:
    """File, line and field are those of the mistake, and the nearest known name is offered."""
    error = error_of(text)
    assert error.message.startswith(f"w.yaml:{line}: {field}: ")
    assert says in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\nname: b", 'w.yaml:2: field "name" is given twice'),
        ("name: [", "w.yaml:1: "),
        ("- 1", "w.yaml:1: expected a mapping"),
        ("name: !!python/object/apply:os.getcwd []", "constructor"),
        ("? [a]\n: 1", "a field name must be text"),
        ("a: &a [*a]", "too large or too deep"),
        ("name: " + "[" * 3000, "not readable as YAML"),
        ("name: a\n---\nname: b", "w.yaml:2: "),
    ],
)
def test_broken_yaml_is_a_config_error(text: str, says: str) -> None:
    """Broken, hostile or ambiguous YAML ends in one ConfigError, not in a traceback."""
    assert says in error_of(text).message


def test_aliases_that_multiply_are_refused() -> None:
    """A small file that stands for a billion nodes is refused before it is built."""
    levels = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    levels += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "too large or too deep" in error_of("\n".join(levels)).message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing, binary or oversized file is named with its reason."""
    cases = {"absent.yaml": None, "binary.yaml": b"\xff\xfe\x00", "big.yaml": b"#" * (1 << 21)}
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=name):
            load_yaml_model(tmp_path / name, Whole)


def test_a_good_file_becomes_its_model(tmp_path: Path) -> None:
    """What a file says is what the model holds, a byte order mark notwithstanding."""
    path = tmp_path / "good.yaml"
    path.write_text("﻿name: 中文\npart: {kind: many, items: [{kind: fixed, value: 2}]}\n", "utf-8")
    made = load_yaml_model(path, Whole)
    assert made.name == "中文"
    assert made.part == Many(kind="many", items=(Fixed(kind="fixed", value=2),))


def test_environment_is_expanded_in_values_only() -> None:
    """`${NAME}` in a value is replaced at any depth; in a key, or without braces, it is text."""
    written = {"${A}": ["x${A}y", {"k": "${B}"}], "n": 3, "plain": "$A"}
    read = expand_env(written, {"A": "1", "B": "2"})
    assert read == {"${A}": ["x1y", {"k": "2"}], "n": 3, "plain": "$A"}


def test_an_unset_variable_is_an_error_that_names_it() -> None:
    """A variable that is not set is named, with the field that wants it."""
    with pytest.raises(ConfigError, match=r"headers.Authorization: environment variable NO_KEY"):
        expand_env({"Authorization": "Bearer ${NO_KEY}"}, {}, "headers")
