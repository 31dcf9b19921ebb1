"""The expressions of GitHub's workflows, as far as ours use them.

Their rules are docs.github.com/en/actions/reference/workflows-and-actions/expressions. What is not
known here raises NotKnownError, so that a workflow that begins to use more is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.workflow.errors import NotKnownError

Functions = Mapping[str, Callable[..., Any]]

_INSIDE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')"
    r"|(?P<sign>&&|\|\||==|!=|[!(),])"
    r"|(?P<name>[A-Za-z_][\w-]*(?:\.[\w-]+)*))\s*"
)
#: The functions that ask how things went. GitHub adds `success() &&` to a condition without one.
_STATUS = re.compile(r"\b(?:success|failure|cancelled|always)\(")


@dataclass(frozen=True)
class Scope:
    """What an expression can name: contexts, such as ``matrix``, and functions."""

    contexts: Mapping[str, Any]
    functions: Functions

    def look_up(self, name: str) -> Any:
        """Return the value of a name such as ``matrix.image``."""
        value: Any = self.contexts
        for part in name.split("."):
            try:
                value = value[part]
            except (KeyError, TypeError):
                raise NotKnownError(f"${{{{ {name} }}}} is not known to the rehearsal") from None
        return value

    def call(self, name: str, arguments: list[Any]) -> Any:
        """Return what a function answers."""
        if name not in self.functions:
            raise NotKnownError(f"the function {name}() is not known to the rehearsal")
        return self.functions[name](*arguments)


def fill(text: str, scope: Scope) -> Any:
    """Put the values of its expressions into a text.

    A text that is one expression and nothing else has that expression's value, which may be
    something else than a string.
    """
    stripped = text.strip()
    whole = _INSIDE.fullmatch(stripped)
    if whole and stripped.count("${{") == 1:
        return evaluate(whole[1], scope)
    return _INSIDE.sub(lambda found: _string(evaluate(found[1], scope)), text)


def holds(condition: str, scope: Scope) -> bool:
    """Whether an ``if`` holds, in a scope with the function ``success``."""
    text = condition.strip()
    whole = _INSIDE.fullmatch(text)
    value = evaluate(whole[1] if whole else text, scope)
    if not _STATUS.search(text):
        value = scope.call("success", []) and value
    return bool(value)


def evaluate(expression: str, scope: Scope) -> Any:
    """Return the value of an expression, without the braces around it."""
    parser = _Parser(_tokens(expression), scope)
    value = parser.either()
    if parser.tokens:
        raise NotKnownError(
            f"{expression.strip()!r}: {parser.tokens[0][1]!r} is not expected there"
        )
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise NotKnownError(f"{value!r} within a text: only strings are known there")
    return value


def _equal(left: Any, right: Any) -> bool:
    """Strings are compared without regard to case; nothing else is compared in our workflows."""
    return _string(left).casefold() == _string(right).casefold()


def starts_with(text: Any, start: Any) -> bool:
    """``startsWith``, which disregards case, too."""
    return _string(text).casefold().startswith(_string(start).casefold())


def _tokens(expression: str) -> list[tuple[str, str]]:
    found = []
    position = 0
    while position < len(expression):
        token = _TOKEN.match(expression, position)
        if token is None:
            raise NotKnownError(f"{expression.strip()!r}: {expression[position:].strip()!r}")
        found.append((str(token.lastgroup), token[str(token.lastgroup)]))
        position = token.end()
    return found


class _Parser:
    """Reads tokens from the left, a method for each level of precedence, weakest first.

    Both sides of an operator are always looked up: a name that is not known is noticed even
    where its value would not matter.
    """

    def __init__(self, tokens: list[tuple[str, str]], scope: Scope) -> None:
        self.tokens = tokens
        self.scope = scope

    def takes(self, *signs: str) -> str:
        """Take the next token and return it, if it is one of these signs."""
        if self.tokens and self.tokens[0] in [("sign", sign) for sign in signs]:
            return self.tokens.pop(0)[1]
        return ""

    def expect(self, sign: str) -> None:
        if not self.takes(sign):
            found = self.tokens[0][1] if self.tokens else "the end"
            raise NotKnownError(f"{sign!r} is expected where {found!r} is")

    def either(self) -> Any:
        value = self.both()
        while self.takes("||"):
            other = self.both()
            value = value or other
        return value

    def both(self) -> Any:
        value = self.comparison()
        while self.takes("&&"):
            other = self.comparison()
            value = value and other
        return value

    def comparison(self) -> Any:
        value = self.operand()
        if sign := self.takes("==", "!="):
            return _equal(value, self.operand()) == (sign == "==")
        return value

    def operand(self) -> Any:
        if self.takes("!"):
            return not self.operand()
        if self.takes("("):
            value = self.either()
            self.expect(")")
            return value
        if not self.tokens:
            raise NotKnownError("the expression ends where a value is expected")
        kind, token = self.tokens.pop(0)
        if kind == "text":
            return token[1:-1].replace("''", "'")
        if kind == "sign":
            raise NotKnownError(f"{token!r} is there where a value is expected")
        if self.takes("("):
            return self.scope.call(token, self.arguments())
        return self.scope.look_up(token)

    def arguments(self) -> list[Any]:
        """Read what is between the parentheses of a call."""
        found: list[Any] = []
        while not self.takes(")"):
            if found:
                self.expect(",")
            found.append(self.either())
        return found
