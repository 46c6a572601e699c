"""The simulator's tokenizer, chat template and replies.

One token is an optional space and up to 8 visible ASCII characters, or any other single character
(a Chinese character, a line end, a second space).  Its id is the BLAKE2b hash of its text within a
vocabulary of 32,768 ids, so every process and every version gives a text the same ids.  The ids
below 16 mark the chat template and never stand for text.

A reply is made of whole tokens, so a client that sends it back as history sends the same ids, and
the prefix cache finds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

VOCABULARY_TOKENS = 32_768
EOS_ID = 2

_SPECIAL_IDS = 16
_TEXT_BEGIN, _MESSAGE_BEGIN, _MESSAGE_END = 1, 3, 4
_ROLES = {"system": 5, "developer": 5, "user": 6, "assistant": 7, "tool": 8}
_OTHER_ROLE = 9

_PIECE = re.compile(r" ?[!-~]{1,8}|[^!-~]")
_REMEMBERED_PIECES = 1_000_000

_SYLLABLES = [a + b for a in "bdgkmnst" for b in "ae"]
_WORDS = tuple(f" {a}{b}{c}".encode() for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES)


def _token_id(piece: str) -> int:
    digest = blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big") % (VOCABULARY_TOKENS - _SPECIAL_IDS) + _SPECIAL_IDS


class _Ids(dict[str, int]):
    """Piece → id, computed on first use."""

    def __missing__(self, piece: str) -> int:
        if len(self) >= _REMEMBERED_PIECES:
            self.clear()
        found = self[piece] = _token_id(piece)
        return found


_id_of = _Ids().__getitem__
_WORD_IDS = tuple(_token_id(word.decode()) for word in _WORDS)


def tokenize(text: str) -> list[int]:
    """Token ids of a text."""
    return list(map(_id_of, _PIECE.findall(text)))


def pieces(text: str) -> list[str]:
    """The text of each token."""
    return _PIECE.findall(text)


def apply_template(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None = None
) -> list[int]:
    """Token ids of a conversation, ending where the assistant's reply begins.

    Tools stand first, as JSON in a system message.  Raises ValueError for a message that is not
    an object with a role, or that holds something other than text.
    """
    ids = [_TEXT_BEGIN]
    if tools:
        _append_message(ids, "system", orjson.dumps(tools).decode())
    for position, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ValueError(f"messages[{position}] is not an object with a role")
        _append_message(ids, message["role"], _content(message, position))
    ids += (_MESSAGE_BEGIN, _ROLES["assistant"])
    return ids


def template_text(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None = None) -> str:
    """The same as one text, as a server shows its template: as many tokens, marks as characters.

    Raises ValueError as `apply_template` does.
    """
    apply_template(messages, tools)
    said = [("system", orjson.dumps(tools).decode())] if tools else []
    said += [(each["role"], _content(each, at)) for at, each in enumerate(messages)]
    parts = [_mark(_TEXT_BEGIN)]
    for role, content in said:
        role_mark = _mark(_ROLES.get(role, _OTHER_ROLE))
        parts += [_mark(_MESSAGE_BEGIN), role_mark, content, _mark(_MESSAGE_END)]
    return "".join((*parts, _mark(_MESSAGE_BEGIN), _mark(_ROLES["assistant"])))


def _mark(special_id: int) -> str:
    """A character of the private use area, which is a token by itself."""
    return chr(0xE000 + special_id)


def _append_message(ids: list[int], role: str, content: str) -> None:
    ids += (_MESSAGE_BEGIN, _ROLES.get(role, _OTHER_ROLE))
    ids += tokenize(content)
    ids.append(_MESSAGE_END)


def _content(message: Mapping[str, Any], position: int) -> str:
    content = message.get("content")
    calls = message.get("tool_calls")
    suffix = orjson.dumps(calls).decode() if calls else ""
    if content is None:
        return suffix
    if isinstance(content, str):
        return content + suffix
    texts = []
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, Mapping) or part.get("type") != "text":
            raise ValueError(f"messages[{position}].content holds a part that is not text")
        texts.append(str(part.get("text", "")))
    return "".join(texts) + suffix


class Reply:
    """The tokens a request is answered with: a walk over 4,096 words, chosen by `key`.

    The same prompt has the same key, and so the same reply, as with greedy sampling.
    """

    __slots__ = ("_start", "_stride")

    def __init__(self, key: int) -> None:
        self._start = key & 4095
        self._stride = (key >> 12 & 4095) | 1

    def word(self, position: int) -> bytes:
        """Text of the token at `position`; plain letters, so it needs no JSON escapes."""
        return _WORDS[(self._start + position * self._stride) & 4095]

    def token_id(self, position: int) -> int:
        return _WORD_IDS[(self._start + position * self._stride) & 4095]

    def ids(self, first: int, end: int) -> list[int]:
        """Token ids of the positions from `first` up to, not including, `end`."""
        return [self.token_id(position) for position in range(first, end)]
