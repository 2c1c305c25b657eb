"""Where the agents of several hosts meet: torch's rendezvous, and what it lacks where hosts go and return.

Torch 2.13 keeps the state of a rendezvous in a store that one of the hosts holds, and every host writes there that it
is alive. Three things go wrong in it:

* The first of the hosts tells where workers meet in its first round, and not again: a host that comes later asks for
  it, gets no answer within 20 seconds and goes away, while the first waits a minute for it. And the others keep that
  address when another host takes the first place. `Meeting` asks in every round.
* A host that stood still for longer than the others wait (a busy machine, a paused virtual one) is struck off, and
  never learns so: its workers go on, it says no more that it is alive, and a host that comes then finds nobody and
  begins alone. `Meeting.whole` tells.
* A host that vanishes is struck off too, but nobody looks until a message to its workers has run out of time.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from datetime import timedelta

from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousInfo, RendezvousParameters
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout

from fieldwise.distributed.interface import address_towards
from fieldwise.errors import ConfigError

__all__ = ["Hosts", "Meeting"]

_SECONDS_BEFORE_NEXT = 10.0
_SECONDS_OF_STORE = 20
"""Within which the store must answer, and hosts that have met must say how many workers they have."""
_SECONDS_OF_BEAT, _BEATS = 1, 8
"""How often a host says that it is alive; and how often it may fail to before it counts as lost."""
_FOR_MORE = timedelta(seconds=5)
"""How long hosts that are enough wait for others: those whose workers a lost host took along are there by then."""


class Meeting(DynamicRendezvousHandler):
    """The way of one host's agent to those of the others."""

    _met: frozenset[object] = frozenset()

    def next_rendezvous(self) -> RendezvousInfo:
        """Meet the other agents, and return what their workers need to meet in turn."""
        self._bootstrap_store_info = None
        info = super().next_rendezvous()
        self._met = frozenset(self._state_holder.state.participants)
        return info

    @property
    def whole(self) -> bool:
        """Whether those who met last are all still there, this host among them; or the training has ended."""
        if self._settings.max_nodes == 1:
            return True
        with self._heartbeat_lock:
            self._state_holder.sync()
            state = self._state_holder.state
            return state.closed or self._met <= state.participants.keys()

    def close(self) -> None:
        """Say that the training has ended, for all hosts."""
        with suppress(RendezvousError, RuntimeError):
            self.shutdown()

    def leave(self) -> None:
        """Say no more that this host is alive; the others go on."""
        self._stop_heartbeats()


class Hosts:
    """Where agents meet.

    Parameters
    ----------
    at_least, at_most
        Hosts that training needs, and hosts that it takes.
    rendezvous
        ``HOST:PORT``, or several with commas between: the first that can be reached is where all meet. One of the hosts
        answers there itself. None is this host alone.
    """

    def __init__(self, at_least: int = 1, at_most: int = 1, rendezvous: str | None = None) -> None:
        if rendezvous is None and at_most > 1:
            raise ConfigError(
                "several hosts must know where to meet", where="--hosts", fix="name one of them: --rendezvous HOST:PORT"
            )
        self.at_least, self.at_most = at_least, at_most
        self.places = [] if rendezvous is None else [_place(text) for text in rendezvous.split(",")]

    @classmethod
    def parse(cls, text: str, rendezvous: str | None = None) -> Hosts:
        """Read ``N`` or ``MIN:MAX``.

        Examples
        --------
        >>> hosts = Hosts.parse("2:4", "first:29400,second:29400")
        >>> hosts.at_least, hosts.at_most, hosts.places
        (2, 4, [('first', 29400), ('second', 29400)])
        """
        low, _, high = text.partition(":")
        if not (low.isdecimal() and (high or low).isdecimal() and 1 <= int(low) <= int(high or low)):
            raise ConfigError("this is no number of hosts", where="--hosts", expected="N or MIN:MAX", got=text)
        return cls(int(low), int(high or low), rendezvous)

    def meet(self, own: str | None = None) -> Meeting:
        """Return the way to the other hosts' agents; waits for a host that answers, or answers itself.

        Who may answer at the second place waits for the first place to answer, and so on, so that hosts that start
        together do not meet in two places.

        Parameters
        ----------
        own
            This host's address, where it is not the one from which it reaches that place.
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
            RendezvousTimeout(last_call=_FOR_MORE),
            _SECONDS_OF_BEAT,
            _BEATS,
        )
        return meeting

    def _place(self) -> tuple[tuple[str, int], bool]:
        """Return where to meet, and whether this host answers there."""
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
        raise ConfigError("this is no place to meet", where="--rendezvous", expected="HOST:PORT", got=text)
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
