"""What a check may lack, and how to get it: the words of every undecided finding."""

from __future__ import annotations

from collections.abc import Mapping

from bench.judge.metric import Text


class Unavailable(Exception):
    """A check has nothing to look at; `text` says what is missing and how to get it."""

    def __init__(self, text: Text, links: tuple[str, ...] = ()) -> None:
        super().__init__(text.en)
        self.text = text
        self.links = links


MISSING: Mapping[str, Text] = {
    "hooks.start": Text(
        "未给出启动命令：在 acceptance.yaml 的 hooks 中给出 start（以及 stop）。",
        "No start command: give hooks.start (and hooks.stop) in acceptance.yaml.",
    ),
    "hooks.break": Text(
        "未给出故障命令：在 acceptance.yaml 的 hooks 中给出 break 与 restore。",
        "No command to induce a failure: give hooks.break and hooks.restore in acceptance.yaml.",
    ),
    "pair": Text(
        "没有对照：在 acceptance.yaml 的 pairs.{name} 中给出 before 与 after（URL 或运行目录）。",
        "Nothing to compare: give pairs.{name} with before and after (URLs or runs) in "
        "acceptance.yaml.",
    ),
    "peak": Text(
        "没有峰值速率可作比例：速率搜索未得出结果。",
        "No peak rate to take a share of: the rate search found none.",
    ),
    "health": Text(
        "没有可探测的健康接口：用 health 给出不触发生成的路径或 URL。",
        "No health endpoint to poll: give health, a path or URL that generates nothing.",
    ),
    "prometheus": Text(
        "未给出 Prometheus 地址：在 acceptance.yaml 中给出 prometheus。",
        "No Prometheus server: give prometheus in acceptance.yaml.",
    ),
    "regions": Text(
        "未给出各地域地址：在 acceptance.yaml 中给出 regions。",
        "No addresses of regions: give regions in acceptance.yaml.",
    ),
    "expected": Text(
        "未给出容量模型的预期：在 acceptance.yaml 的 expected 中给出 {name}。",
        "No expectation of the capacity model: give expected.{name} in acceptance.yaml.",
    ),
    "forecast_rps": Text(
        "未给出容量预测：在 acceptance.yaml 中给出 forecast_rps。",
        "No capacity forecast: give forecast_rps in acceptance.yaml.",
    ),
    "image": Text(
        "未给出镜像名：在 acceptance.yaml 中给出 image。",
        "No name of the container image: give image in acceptance.yaml.",
    ),
    "history": Text(
        "未给出历史运行：在 acceptance.yaml 的 history 中给出保存运行的目录。",
        "No stored runs: give history, the folders that hold them, in acceptance.yaml.",
    ),
    "series": Text(
        "未采集到 {name}：用 --scrape 给出提供它的导出器或副本的地址。",
        "{name} was not scraped: give the exporter or replica that has it with --scrape URL.",
    ),
    "imported": Text(
        "没有导入的结果：在证据目录的 YAML 中为本条给出 kind: imported 与 file（{name}）。",
        "No imported result: give an entry kind: imported with file ({name}) in the evidence "
        "folder.",
    ),
    "before": Text(
        "没有基线结果：在证据条目中给出 before（优化前的 {name} 结果）。",
        "No result to compare with: give before ({name} without the change) in the evidence entry.",
    ),
    "attested": Text(
        "没有书面证明：在证据目录的 YAML 中为本条给出 kind: attested"
        "（谁、何时、结论、链接、有效期）。",
        "No statement: give an entry kind: attested (who, when, what, link, expiry) in the "
        "evidence folder.",
    ),
    "elsewhere": Text(
        "证据属于其他服务（{other}），不是 {target}："
        "若是同一服务，把该地址写进证据文件的 targets。",
        "The evidence is of another service ({other}), not of {target}: if they are one, add this "
        "address to the file's targets.",
    ),
    "history_elsewhere": Text(
        "history 中的 {count} 次运行均属于其他服务，不是 {target}。",
        "None of the {count} stored runs of history was made against {target}.",
    ),
    "expired": Text(
        "{by} 的证明已于 {expires} 过期：请更新。",
        "The statement of {by} expired on {expires}: have it renewed.",
    ),
    "partial": Text(
        "未执行完：{name}，用 --resume 继续。", "Not finished: {name}; go on with --resume."
    ),
    "unlike_pair": Text(
        "对照双方的运行条件不同（{what}），不能比较。",
        "The two sides were not measured alike ({what}), so they can't be compared.",
    ),
    "not_made": Text("尚未执行：{name}。", "Not made yet: {name}."),
    "failed": Text("未能执行：{why}", "Could not be made: {why}"),
    "not_valid": Text(
        "运行无效（{rules}），不作判定：见其 verdict.json。",
        "The run is not valid ({rules}), so it decides nothing: see its verdict.json.",
    ),
    "no_value": Text("没有取值：{why}", "No value: {why}"),
    "too_short": Text("运行太短，无法判断：{why}", "The runs are too short to tell: {why}"),
}


def missing(code: str, /, **values: object) -> Unavailable:
    """The entry of `code` with its placeholders filled."""
    return Unavailable(filled(MISSING[code], **values))


def filled(words: Text, **values: object) -> Text:
    """The words with their placeholders filled; a value may itself be a Text."""
    zh = {name: v.zh if isinstance(v, Text) else v for name, v in values.items()}
    en = {name: v.en if isinstance(v, Text) else v for name, v in values.items()}
    return Text(words.zh.format(**zh), words.en.format(**en))
