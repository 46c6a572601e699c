"""bench.workload.recipe: the schema of recipes, their hash, and what is never written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.model import Target, Timeouts
from bench.workload.fit import Fit
from bench.workload.readers import ReadOptions
from bench.workload.recipe import (
    SEEDS,
    FitOptions,
    ReaderOptions,
    Recipe,
    TimeoutOptions,
    load_recipe,
    named_seeds,
    recipe_hash,
    recipe_manifest,
    request_fields,
    with_recipe,
)
from bench.workload.resolve import Overrides, override

MINIMAL = """\
name: small
title: {zh: 小, en: small}
source:
  kind: synthetic
  input_tokens: {kind: fixed, value: 100}
  output_tokens: {kind: fixed, value: 10}
arrivals: {kind: poisson, rate_rps: 2}
requests: 50
"""


def load(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "r.yaml"
    path.write_text(text, "utf-8")
    return load_recipe(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("rate_rps: 2", "rate_rsp: 2"), "r.yaml:7: arrivals.rate_rsp: unknown field"),
        (("rate_rps: 2", "rate_rps: 0"), "r.yaml:7: arrivals.rate_rps: expected a number greater"),
        (("poisson", "poison"), "r.yaml:7: arrivals.kind: expected one of"),
        (("requests: 50", "warmup: {requests: 5}"), "needs requests or duration_s"),
        (("kind: poisson, rate_rps: 2", "kind: recorded"), "needs a source of kind trace"),
        (
            ("requests: 50", "requests: 50\nwarmup: {requests: 50}"),
            "r.yaml:1: warmup.requests 50 lea",
        ),
        (("requests: 50", "duration_s: 5\nwarmup: {duration_s: 9}"), "leaves none of 5 s"),
        (("requests: 50", "requests: 50\nwarmup: {}"), "r.yaml:9: warmup: give either requests"),
        (("requests: 50", "requests: 50\nprompt_length: token_ids"), "needs endpoint completions"),
        (("requests: 50", "requests: 50\nprompt_length: local_tokenizer"), "tokenizer_file"),
        (("kind: poisson, rate_rps: 2", "kind: weibull, rate_rps: 2"), "either cv or shape"),
        (("name: small", "name: ../small"), "r.yaml:1: name: "),
        (
            ("kind: poisson, rate_rps: 2}", "kind: closed, concurrency: 4}\nmax_concurrency: 9"),
            "caps an open loop",
        ),
        (
            (
                "kind: poisson, rate_rps: 2}",
                "kind: closed, concurrency: 4}\nwarmup: {duration_s: 9}",
            ),
            "warmup.requests instead",
        ),
        (
            (
                "kind: poisson, rate_rps: 2}",
                "kind: stages, stages: [{duration_s: 1, rate_rps: 0}]}",
            ),
            "every stage has rate 0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_recipe_that_cannot_be_is_refused(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    """A wrong recipe ends in one error that names the place or the contradiction."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, MINIMAL.replace(*change))
    assert says in caught.value.message


def test_seeds_are_derived_from_one_and_may_be_given(tmp_path: Path) -> None:
    """Each named seed differs, follows from `seed`, and gives way to one that is written."""
    plain = named_seeds(load(tmp_path, MINIMAL))
    other = named_seeds(load(tmp_path, MINIMAL + "seed: 1\n"))
    given = named_seeds(load(tmp_path, MINIMAL + "seeds: {content: 7}\n"))
    assert set(plain) == set(SEEDS)
    assert len(set(plain.values())) == len(SEEDS)
    assert not set(plain.values()) & set(other.values())
    assert given == {**plain, "content": 7}


def test_seeds_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Derived seeds are the same everywhere and for ever."""
    assert named_seeds(load(tmp_path, MINIMAL))["arrivals"] == 276928231580699


def test_the_hash_is_of_the_meaning(tmp_path: Path) -> None:
    """Comments, order, written defaults and the file's place don't change it; a value does."""
    plain = recipe_hash(load(tmp_path, MINIMAL))
    (tmp_path / "elsewhere").mkdir()
    lines = MINIMAL.strip().splitlines()
    shuffled = "\n".join([*lines[2:], "endpoint: chat", "# a comment", *lines[:2]])
    assert recipe_hash(load(tmp_path / "elsewhere", shuffled)) == plain
    assert recipe_hash(load(tmp_path, MINIMAL.replace("value: 10}", "value: 11}"))) != plain


def test_a_closed_loop_ends_at_errors_in_a_row(tmp_path: Path) -> None:
    """20 for each slot, and as the recipe says where it does; an open loop only as it says."""
    opened = load(tmp_path, MINIMAL)
    closed = override(opened, Overrides(concurrency=3))
    assert opened.stop_conditions.max_errors_in_a_row is None
    assert closed.stop_conditions.max_errors_in_a_row == 60
    assert recipe_manifest(closed)["stop"]["max_errors_in_a_row"] == 60
    said = load(tmp_path, MINIMAL + "stop: {max_errors_in_a_row: 7}\n")
    assert said.stop_conditions.max_errors_in_a_row == 7
    for recipe in (closed, override(said, Overrides(concurrency=3))):
        going = override(recipe, Overrides(keep_going=True))
        assert going.stop_conditions.max_errors_in_a_row is None


def test_secrets_are_expanded_for_requests_and_never_written(tmp_path: Path) -> None:
    """Header values are in requests alone; placeholders stay unexpanded in hash and manifest."""
    text = MINIMAL + 'headers: {X-Key: "k-${KEY}"}\nsampling: {extra: {user: "${WHO}"}}\n'
    recipe = load(tmp_path, text)
    environ = {"KEY": "sesame", "WHO": "me"}
    assert with_recipe(Target("http://h", ""), recipe, environ).headers == {"X-Key": "k-sesame"}
    assert request_fields(recipe, environ) == {"user": "me"}
    written = json.dumps(recipe_manifest(recipe))
    assert "sesame" not in written
    assert "k-" not in written
    assert "${WHO}" in written
    with pytest.raises(ConfigError, match="KEY is not set"):
        with_recipe(Target("http://h", ""), recipe, {})


def test_tenants_stand_in_for_headers_of_the_same_names(tmp_path: Path) -> None:
    """Session k is tenant k modulo their number; the look beforehand is the first tenant's."""
    text = MINIMAL + 'headers: {X-Key: none, X-Team: a}\ntenants: [{x-key: "${A}"}, {x-key: b}]\n'
    recipe = load(tmp_path, text)
    target = with_recipe(Target("http://h", ""), recipe, {"A": "sesame-sesame"})
    assert target.headers_of(2) == {"X-Team": "a", "x-key": "sesame-sesame"}
    assert target.headers_of(3) == {"X-Team": "a", "x-key": "b"}
    assert target.headers == target.headers_of(0)
    assert "sesame-sesame" in target.secrets
    assert "${A}" not in json.dumps(recipe_manifest(recipe))
    assert recipe_manifest(recipe)["tenants"] == [{"x-key": "(not written)"}] * 2


@pytest.mark.parametrize("tenants", ["[{a: x}, {b: x}]", "[{}]"])
def test_tenants_name_the_same_headers(tmp_path: Path, tenants: str) -> None:
    """Else one would silently carry another's."""
    with pytest.raises(ConfigError, match="each needs the same headers"):
        load(tmp_path, MINIMAL + f"tenants: {tenants}\n")


def test_request_fields_hold_what_is_asked_for(tmp_path: Path) -> None:
    """Absent sampling fields are not sent; the sampling seed is sent when asked for."""
    assert request_fields(load(tmp_path, MINIMAL), {}) == {}
    text = MINIMAL + "sampling: {temperature: 0, send_seed: true, extra: {min_p: 0.1}}\n"
    recipe = load(tmp_path, text)
    fields = request_fields(recipe, {})
    assert fields == {
        "temperature": 0,
        "seed": named_seeds(recipe)["sampling"] % 2**31,
        "min_p": 0.1,
    }


def test_paths_count_from_the_recipe(tmp_path: Path) -> None:
    """A relative path in a recipe is relative to the recipe's own folder."""
    assert load(tmp_path, MINIMAL).path_of("t.jsonl") == tmp_path / "t.jsonl"


def test_the_manifest_is_json_with_every_default(tmp_path: Path) -> None:
    """The resolved recipe can be written as JSON and read back to an equal recipe."""
    recipe = load(tmp_path, MINIMAL)
    written = json.dumps(recipe_manifest(recipe))
    assert Recipe.model_validate_json(written).in_folder(tmp_path) == recipe
    assert json.loads(written)["salt"] == "auto"


def test_mirrored_options_have_the_same_fields() -> None:
    """What a recipe offers is what readers, fitting and the engine take."""

    def names(record: type) -> set[str]:
        return {each.name for each in dataclasses.fields(record)}

    assert set(FitOptions.model_fields) == names(Fit) - {"speed"}
    assert set(ReaderOptions.model_fields) == names(ReadOptions) - {"seed"}
    assert set(TimeoutOptions.model_fields) == names(Timeouts)
    assert TimeoutOptions().model_dump() == dataclasses.asdict(Timeouts())


def test_the_schema_is_published() -> None:
    """Editors can have the JSON Schema, and every kind of source and arrivals is in it."""
    schema = json.dumps(Recipe.model_json_schema())
    for kind in ("trace", "synthetic", "text", "recorded", "stages", "closed", "weibull"):
        assert f'"const": "{kind}"' in schema
