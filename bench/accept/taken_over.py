"""What errors of other rooms say, in Chinese: those that a server gives cause for.

An error has one message, in English.  A report in Chinese tells the usual ones in Chinese; of any
other it quotes the words.
"""

from __future__ import annotations

import re

_CALL = r"(?P<call>[A-Z]+ \S+): "

_SENTENCES: tuple[tuple[str, str], ...] = (
    (_CALL + r"connection refused by (?P<who>\S+)", "{call}：{who} 拒绝连接"),
    (_CALL + r"the host name (?P<who>\S+) is not known", "{call}：主机名 {who} 无法解析"),
    (
        _CALL + r"the server's certificate is not trusted \((?P<why>.*)\)",
        "{call}：服务端证书不受信任（{why}）",
    ),
    (_CALL + r"no TLS connection \((?P<why>.*)\)", "{call}：无法建立 TLS 连接（{why}）"),
    (_CALL + r"no answer within (?P<limit>\S+) s", "{call}：{limit} s 内没有应答"),
    (_CALL + r"can't connect to (?P<who>\S+) \((?P<why>.*)\)", "{call}：无法连接 {who}（{why}）"),
    (_CALL + r"the connection broke \((?P<why>.*)\)", "{call}：连接中断（{why}）"),
    (
        _CALL + r"an HTML page with status (?P<status>\d+)",
        "{call}：返回 HTML 页面，状态码 {status}",
    ),
    (
        _CALL + r"status (?P<status>\d+): (?P<said>.*)",
        "{call}：状态码 {status}，服务端答复：{said}",
    ),
    (_CALL + r"status (?P<status>\d+)", "{call}：状态码 {status}"),
    (r"can't connect to (?P<who>\S+): (?P<why>.*)", "无法连接 {who}：{why}"),
    (
        r"(?P<long>\d+) of (?P<all>\d+) requests are longer than the server's context of "
        r"(?P<limit>\d+) tokens \(longest: (?P<longest>\d+)\)",
        "{all} 个请求中 {long} 个超过服务端上下文长度 {limit} Token（最长 {longest}）",
    ),
    (
        r"the server does not say how long a prompt is, .*",
        "服务端未说明提示词长度，无法按计划生成提示词",
    ),
    (r"no space left for (?P<path>.*)", "磁盘空间不足，无法写入 {path}"),
    (r"can't write (?P<path>.*): (?P<why>.*)", "无法写入 {path}：{why}"),
)


def in_chinese(message: str) -> str:
    """The message in Chinese where it is one of the usual ones; else quoted as it is."""
    for pattern, words in _SENTENCES:
        found = re.fullmatch(pattern, message, re.DOTALL)
        if found is not None:
            return words.format(**found.groupdict())
    return f"“{message}”"
