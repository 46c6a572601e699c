"""Why an activity failed, in both languages."""

from __future__ import annotations

from collections.abc import Mapping

from bench.accept.missing import filled
from bench.accept.taken_over import in_chinese
from bench.errors import BenchError, NotValidError, TargetError, UsageError
from bench.judge.metric import Text

FAILURES: Mapping[str, Text] = {
    "hook_slow": Text(
        "hook {name} 未在 {limit_s:g} s 内完成：提高 hooks.limit_s。",
        "hook {name}: not done within {limit_s:g} s: raise hooks.limit_s.",
    ),
    "hook_failed": Text(
        "hook {name} 的退出码为 {exit_code}：{said}。"
        "请手工执行一遍：它由 sh 在 bench 的当前目录执行。",
        "hook {name}: exit code {exit_code}: {said}. Run it by hand: it is run by sh in the "
        "directory of the command.",
    ),
    "answers_already": Text(
        "执行启动命令之前服务已在应答：在 hooks 中给出 stop 以停止它。",
        "The service answers before its start hook was run: give hooks.stop to stop it.",
    ),
    "search_not_valid": Text(
        "速率 {rate_rps:.3g}/s 的两次运行均无效（{rules}）：见其 verdict.json；换更空闲的机器或"
        "增加 --workers，再用 --resume 继续。",
        "Two runs at {rate_rps:.3g}/s were not valid ({rules}): see their verdict.json; a quieter "
        "machine or more --workers, then --resume.",
    ),
    "no_good_set": Text(
        "SLO 配置 {profile} 没有定义 good，速率搜索需要它：在 acceptance.yaml 中或用 -p 另选一个。",
        "Profile {profile} defines no good set, and a rate search needs one: name another in "
        "acceptance.yaml, or with -p.",
    ),
    "uneven_pair": Text(
        "对照的前后运行数须相等，现为 {before} 与 {after}。",
        "A pair needs as many runs before as after, got {before} and {after}.",
    ),
    "no_duration": Text(
        "场景 {name} 的 recipe 须有 duration_s，才能在其间制造故障。",
        "Scenario {name}: its recipe needs duration_s, to break in it.",
    ),
    "ended_first": Text(
        "运行在制造故障之前就结束了：把它延长。",
        "The run ended before the failure was induced: make it longer.",
    ),
    "health": Text(
        "health：{path} 会让 {family} 生成：给出不触发生成的路径。",
        "health: {path} makes {family} generate: give a path that does not.",
    ),
    "prometheus": Text(
        "Prometheus 查询 {url} 的状态为 {status}：{said}",
        "GET {url}: status {status}: {said}",
    ),
    "no_tls": Text("{url}：无法建立 TLS 连接（{said}）", "{url}: no TLS connection ({said})"),
}

_KINDS: Mapping[type[BenchError], Text] = {
    UsageError: Text("设置有误：{said}", "{said}"),
    TargetError: Text("服务端无法使用：{said}", "{said}"),
    NotValidError: Text("测量不可信：{said}", "{said}"),
}


class ActivityFailed(BenchError):
    """An activity of an acceptance failed; `text` says why and what to do."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


def failure(code: str, /, **values: object) -> ActivityFailed:
    """The entry of `code` with its placeholders filled."""
    return ActivityFailed(filled(FAILURES[code], **values))


def why_of(error: BenchError) -> Text:
    """What an error says: its kind in both languages, its message in Chinese where it is known."""
    if isinstance(error, ActivityFailed):
        return error.text
    kinds = [words for kind, words in _KINDS.items() if isinstance(error, kind)]
    said = Text(in_chinese(error.message), error.message)
    return filled(kinds[0] if kinds else Text("{said}", "{said}"), said=said)
