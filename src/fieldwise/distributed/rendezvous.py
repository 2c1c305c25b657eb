"""The hosts of a run, and where their agents meet: the state of torch's rendezvous lies in a store on one of them."""

from __future__ import annotations

import socket
import time
from datetime import timedelta

from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import RendezvousTimeout

from fieldwise.distributed.interface import address_towards
from fieldwise.distributed.torch_internals import Meeting
from fieldwise.errors import ConfigError

__all__ = ["Hosts"]

_SECONDS_BEFORE_NEXT = 10.0
_SECONDS_OF_STORE = 20
"""Timeout of the store, and of hosts that have met for publishing their number of workers."""
_SECONDS_OF_BEAT, _BEATS = 1, 8
"""Interval of heartbeats, and the number of missed ones after which a host counts as lost."""
_FOR_MORE = timedelta(seconds=5)
"""How long a sufficient number of hosts waits for further ones, such as those whose workers ended with a lost host."""
_TO_CLOSE = timedelta(minutes=10)
"""How long it may take to tell the other hosts that the run has ended: 30 seconds were too few on a busy machine, and
the others would have waited for ever."""


class Hosts:
    """The hosts of a run, and where their agents meet.

    Parameters
    ----------
    at_least, at_most
        Minimum and maximum number of hosts, 1 <= at_least <= at_most.
    rendezvous
        ``HOST:PORT``, or several separated by commas, of which the first reachable one is used. HOST is one of the
        hosts. None if there is only this host.

    Raises
    ------
    ConfigError
        There are several hosts but no rendezvous, or it is not ``HOST:PORT``.
    """

    def __init__(self, at_least: int = 1, at_most: int = 1, rendezvous: str | None = None) -> None:
        if rendezvous is None and at_most > 1:
            raise ConfigError(
                "several hosts require a rendezvous", where="--hosts", fix="add --rendezvous HOST:PORT with one of them"
            )
        self.at_least, self.at_most = at_least, at_most
        self.places = [] if rendezvous is None else [_place(text) for text in rendezvous.split(",")]

    @classmethod
    def parse(cls, text: str, rendezvous: str | None = None) -> Hosts:
        """Parse ``N`` or ``MIN:MAX``.

        Examples
        --------
        >>> hosts = Hosts.parse("2:4", "first:29400,second:29400")
        >>> hosts.at_least, hosts.at_most, hosts.places
        (2, 4, [('first', 29400), ('second', 29400)])
        """
        low, _, high = text.partition(":")
        if not (low.isdecimal() and (high or low).isdecimal() and 1 <= int(low) <= int(high or low)):
            raise ConfigError("invalid number of hosts", where="--hosts", expected="N or MIN:MAX", got=text)
        return cls(int(low), int(high or low), rendezvous)

    def meet(self, own: str | None = None) -> Meeting:
        """Return the rendezvous handler of this host, after one of the rendezvous hosts responds or this host is one.

        The second rendezvous host waits for the first one before it accepts connections, and so on, so that hosts that
        start at the same time do not meet in two places.

        Parameters
        ----------
        own
            The address of this host; by default the one from which it reaches the rendezvous.
        """
        (host, port), answer = self._place()
        parameters = RendezvousParameters(
            backend="c10d",
            endpoint=f"{host}:{port}",
            run_id="fieldwise",
            min_nodes=self.at_least,
            max_nodes=self.at_most,
            is_host=answer,
            read_timeout=_SECONDS_OF_STORE,
        )
        backend, store = create_backend(parameters)
        meeting: Meeting = Meeting.from_backend(
            parameters.run_id,
            store,
            backend,
            self.at_least,
            self.at_most,
            own or address_towards(host),
            RendezvousTimeout(last_call=_FOR_MORE, close=_TO_CLOSE),
            _SECONDS_OF_BEAT,
            _BEATS,
        )
        return meeting

    def _place(self) -> tuple[tuple[str, int], bool]:
        """Return the rendezvous, and whether this host serves it."""
        begun = time.monotonic()
        while self.places:
            if listening := [place for place in self.places if _answers(place)]:
                return listening[0], False
            waited = time.monotonic() - begun
            due = [place for turn, place in enumerate(self.places) if waited >= turn * _SECONDS_BEFORE_NEXT]
            if own := [place for place in due if _is_own(place[0])]:
                return own[0], True
            time.sleep(0.2)
        return ("127.0.0.1", 0), True


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigError("invalid rendezvous", where="--rendezvous", expected="HOST:PORT", got=text)
    return host, int(port)


def _answers(place: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(place, timeout=2):
            return True
    except OSError:
        return False


def _is_own(host: str) -> bool:
    own = address_towards(host)
    try:
        return own is not None and own == socket.gethostbyname(host)
    except OSError:
        return False
