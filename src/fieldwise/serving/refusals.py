"""What a server answers to a request that it does not take, and how its errors read as one line."""

from __future__ import annotations

from fieldwise.errors import UserError

__all__ = ["Refusal", "one_line", "refused"]


class Refusal(Exception):
    """A request is not answered.

    Parameters
    ----------
    status
        The status of HTTP: 400 to 499 where the request is to blame, 503 where it may be repeated.
    text
        Why, in a line that names what is wrong; it is sent to the client.
    headers
        More headers of the answer.

    Examples
    --------
    >>> Refusal(413, "the body is too large").status
    413
    """

    def __init__(self, status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers


def one_line(error: BaseException) -> str:
    r"""Return the message of an error on one line.

    Examples
    --------
    >>> one_line(ValueError("damaged\n  where: a.bin\n  got: 3 bytes"))
    'damaged; where: a.bin; got: 3 bytes'
    """
    return "; ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__


def refused(error: UserError | TypeError) -> Refusal:
    """Return the refusal of rows that the model cannot read."""
    return Refusal(400, one_line(error))
