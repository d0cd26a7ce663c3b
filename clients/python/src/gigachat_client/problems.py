"""What keeps a call from succeeding: a `GigachatError`, whatever it is."""

from __future__ import annotations

from gigachat_client.types import FieldProblem, Problem


class GigachatError(Exception):
    """The root: nothing else is raised for what a server or the way to it does."""


class NoAnswer(GigachatError):
    """Nothing answered, or the answer broke off, as often as it was tried.

    `was_sent`: the server may have heard the call. Made again with its `idempotency_key` it is not done twice.
    """

    def __init__(self, text: str, *, was_sent: bool = True) -> None:
        super().__init__(text)
        self.was_sent = was_sent


class UnexpectedAnswer(GigachatError):
    """Something answered that does not speak this API, such as a proxy, or a much older server."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:200]}")
        self.status = status


class ApiError(GigachatError):
    """The server's answer is a problem. `code` never changes its meaning; the texts are for people."""

    code = ""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.detail}")
        self.code = problem.code
        self.status = problem.status
        self.title = problem.title
        self.detail = problem.detail
        self.request_id = problem.request_id
        self.errors: list[FieldProblem] = problem.errors or []
        """The invalid fields of a 422."""
