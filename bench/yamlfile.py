"""YAML files read into pydantic models, with errors that name file, line, field and expectation.

The dialect is YAML with the scalars of the 1.2 core schema: `true`/`false`, decimal integers
(`10_000` is allowed), floats (`1e-3` is one), `null`; everything else is text, so `no`, `12:30`
and `2024-01-01` are what they look like.  Tags that construct objects are refused, and so are
files over 1 MiB, more than 100,000 nodes (aliases count each time) and nesting over 64.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bench.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]

_MAX_BYTES = 1 << 20
_MAX_NODES = 100_000
_MAX_DEPTH = 64
_MAP, _SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class StrictModel(BaseModel):
    """A part of a configuration file: frozen, no unknown fields, no conversions, finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class EitherModel(StrictModel):
    """One of whose two fields `either` is given, and not both."""

    either: ClassVar[tuple[str, str]]

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if len([name for name in self.either if getattr(self, name) not in (None, ())]) != 1:
            raise ValueError(f"give either {' or '.join(self.either)}")
        return self


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The plain value of a YAML file and the line (from 1) of every key and item in it."""

    path: str
    value: Any
    lines: Mapping[Location, int] = field(repr=False)

    def line(self, location: Location) -> int:
        """The line of `location`, or of the nearest thing around it that the file has."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def load_yaml_model(path: str | Path, model: type[Model]) -> Model:
    """Read `path` and validate it as `model`.

    Raises ConfigError: unreadable file, bad YAML, or the first field that is wrong.
    """
    return validate(read_yaml(path), model)


def read_yaml(path: str | Path) -> YamlDocument:
    """Read one YAML document without validating it.  Raises ConfigError."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{path}: {len(raw):,} bytes; a configuration file has at most 1 MiB")
    try:
        return parse_yaml(raw.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None


def parse_yaml(text: str, path: str = "<text>") -> YamlDocument:
    """`read_yaml` for text already in hand; `path` is what errors call it."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return YamlDocument(path, {}, {})
        reader = _Reader(loader)
        return YamlDocument(path, reader.value(root, ()), reader.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {str(error)[:200]}") from None
    finally:
        loader.dispose()


def validate(document: YamlDocument, model: type[Model]) -> Model:
    """The document as `model`.  Raises ConfigError naming file, line, field, expected and got."""
    if not isinstance(document.value, dict):
        kind = type(document.value).__name__
        raise ConfigError(f"{document.path}:1: expected a mapping of fields, got {kind}")
    try:
        return model.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        raise _config_error(document, model, error) from None


def explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """(what is wrong, hint) of a ValidationError's first entry, in the words of `validate`.

    For values that don't come from a file, such as options of the command line.
    """
    first = error.errors()[0]
    message, hint = _describe(first, model)
    return _joined(_dotted(first["loc"], None), message), hint


def expand_env(value: Any, environ: Mapping[str, str], where: str = "") -> Any:
    """`value` with every `${NAME}` inside its strings replaced from `environ`.

    Keys are left alone.  Models keep the unexpanded text, so that what is written to a run folder
    never holds a secret; the expansion happens where a request is made.  Raises ConfigError for a
    name that is not set.
    """
    if isinstance(value, str):

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name not in environ:
                raise ConfigError(
                    f"{where or 'value'}: environment variable {name} is not set",
                    f"export {name}=…, or remove ${{{name}}}",
                )
            return environ[name]

        return _ENV.sub(replace, value)
    if isinstance(value, Mapping):
        return {key: expand_env(item, environ, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence):
        return [expand_env(item, environ, where) for item in value]
    return value


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint: the known name closest to `name`, or the list of all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(sorted(known))}"


class _Loader(yaml.SafeLoader):
    """SafeLoader with the implicit types of the YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"~|null|", ["~", "n", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9_]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


class _Reader:
    """Turns nodes into plain values and remembers lines."""

    def __init__(self, loader: _Loader) -> None:
        self._scalar: Callable[[yaml.Node], Any] = loader.construct_object
        self._nodes = 0
        self.lines: dict[Location, int] = {}

    def value(self, node: yaml.Node, at: Location) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(at) > _MAX_DEPTH:
            raise ValueError("too large or too deep")
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
            return [self.value(item, (*at, i)) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a field name must be text", problem_mark=mark)
            key = key_node.value
            if key in made:
                raise yaml.MarkedYAMLError(
                    problem=f'field "{key}" is given twice', problem_mark=mark
                )
            self.lines[(*at, key)] = mark.line + 1
            made[key] = self.value(value_node, (*at, key))
        return made


def _config_error(
    document: YamlDocument, model: type[BaseModel], error: ValidationError
) -> ConfigError:
    entries = error.errors()
    # A misspelt field is also a missing one: the misspelling is what the user has to see.
    first = min(entries, key=lambda entry: entry["type"] == "missing")
    path = first["loc"]
    if first["type"] == "union_tag_invalid":
        path = (*path, first["ctx"]["discriminator"].strip("'"))
    location = _in_document(path, document.value)
    message, hint = _describe(first, model)
    more = f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""
    where = f"{document.path}:{document.line(location)}"
    field = _dotted(path, document.value)
    return ConfigError(_joined(where, field, f"{message}{more}"), hint)


def _joined(*parts: str) -> str:
    """Places and a message; what concerns the whole document has no field to name."""
    return ": ".join(part for part in parts if part)


def _describe(entry: Any, model: type[BaseModel]) -> tuple[str, str]:
    """Message and hint for one entry of pydantic's error list."""
    kind, context = entry["type"], entry.get("ctx", {})
    got = json.dumps(entry["input"], ensure_ascii=False, default=str)
    got = got if len(got) <= 60 else got[:57] + "..."
    last = str(entry["loc"][-1]) if entry["loc"] else ""
    if kind == "extra_forbidden":
        known = _fields(model, entry["loc"][:-1])
        return "unknown field", nearest(last, known)
    if kind == "missing":
        return "a value is required here", ""
    if kind in ("union_tag_invalid", "literal_error", "enum"):
        expected = context.get("expected_tags") or context.get("expected", "")
        known = re.findall(r"'([^']*)'", expected)
        wrong = str(context.get("tag", entry["input"]))
        return f'expected one of {", ".join(known)}, got "{wrong}"', nearest(wrong, known)
    if kind == "union_tag_not_found":
        return f"the field {context.get('discriminator', '')} is required here", ""
    message = entry["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind in ("value_error", "assertion_error"):
        return message, ""
    message = re.sub(r"^Input should be (a valid )?", "expected ", message)
    message = re.sub(r"^expected (greater|less|a multiple)", r"expected a number \1", message)
    return f"{message}, got {got}", ""


def _in_document(location: Location, value: Any) -> Location:
    """`location` without the union tags that pydantic puts into it."""
    kept: list[str | int] = []
    for step in location:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            continue
        kept.append(step)
    return tuple(kept)


def _dotted(location: Location, value: Any) -> str:
    """`source.input_tokens.min`; a missing last field is kept, union tags are not.

    Empty for the whole document.
    """
    found = list(location if value is None else _in_document(location, value))
    if location and (not found or found[-1] != location[-1]):
        found.append(location[-1])
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in found)
    return text.lstrip(".")


def _fields(model: type[BaseModel], location: Location) -> list[str]:
    """Names of the fields that `location` inside `model` may have, read from its JSON Schema."""
    schema = model.model_json_schema()
    here: list[dict[str, Any]] = [schema]
    for step in location:
        found = [part for node in here for part in _step(node, step, schema)]
        here = found or here
    return [name for node in here for part in _flat(node, schema) for name in part["properties"]]


def _step(node: dict[str, Any], step: str | int, schema: dict[str, Any]) -> list[dict[str, Any]]:
    tags = node.get("discriminator", {}).get("mapping", {})
    if step in tags:
        return [{"$ref": tags[step]}]
    found = []
    for part in _flat(node, schema):
        if isinstance(step, int):
            found.append(part.get("items"))
        else:
            found.append(part["properties"].get(step, part.get("additionalProperties")))
    return [part for part in found if isinstance(part, dict)]


def _flat(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The node and its alternatives, references followed, each with a `properties`."""
    if "$ref" in node:
        return _flat(schema["$defs"][node["$ref"].rsplit("/", 1)[1]], schema)
    alternatives = [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]
    if alternatives:
        return [part for option in alternatives for part in _flat(option, schema)]
    return [{"properties": {}, **node}]
