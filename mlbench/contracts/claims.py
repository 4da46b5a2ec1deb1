"""The line that the workers of a host form: who serves which queries of a trial.

A claim is one record appended to a file in memory that all workers and the coordinator hold open.
The kernel puts appended records one behind the other, whoever writes, so everybody who reads the
file from its beginning sees the same order and comes to the same result:

    a claim is valid if it begins where the valid claims before it ended; otherwise it is void

A worker that lost a race finds its own record void and claims again. There is no lock, so nobody
waits for a process that was stopped or killed, and the file tells exactly who holds what.
The coordinator ends a trial with a record of its own, after which every claim is void.
"""

import fcntl
import os
import struct
from typing import NamedTuple

_RECORD = struct.Struct("<IHHII")  # trial, kind, worker, first query, number of queries
_CLAIM, _CLOSE = 1, 2
_READ_BYTES = 4096 * _RECORD.size  # at a time; between two claims hardly more than a few are new


class Claim(NamedTuple):
    """A worker serves the queries `first` to `first + size - 1` of the trial."""

    worker: int
    first: int
    size: int


def create_claim_file() -> int:
    """Make the file in memory and return its descriptor, for `ClaimLog` and for workers to inherit.

    Its records are appended whoever writes; it is gone when nobody holds it open any more.
    """
    descriptor = os.memfd_create("mlbench-claims")
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
    return descriptor


class ClaimLog:
    """One reader's view of the claims of a trial.

    `head` is the first query that nobody has claimed; `closed` tells that no claim is valid any
    more. Queries are numbered from 0 in the order in which they are due.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.begin(0)

    def begin(self, trial: int) -> None:
        """Read from the beginning, for this trial; records of others are void."""
        self._trial = trial
        self._position = 0
        self.head = 0
        self.closed = False

    def clear(self) -> None:
        """Empty the file; only between trials."""
        os.ftruncate(self._descriptor, 0)

    def claim(self, worker: int, size: int) -> Claim | None:
        """Try to claim `size` queries from `head` on, which must be up to date.

        Returns the claim, or None when somebody else was quicker, or the line is closed;
        `head` and `closed` are up to date in any case.
        """
        wanted = Claim(worker, self.head, size)
        self._append(_CLAIM, *wanted)
        return wanted if wanted in self.read() else None

    def close(self) -> None:
        """Make every later claim of this trial void."""
        self._append(_CLOSE, 0, 0, 0)

    def _append(self, kind: int, worker: int, first: int, size: int) -> None:
        os.write(self._descriptor, _RECORD.pack(self._trial, kind, worker, first, size))

    def read(self) -> list[Claim]:
        """Return the valid claims that were appended since the last call, in order."""
        claims: list[Claim] = []
        while True:
            records = os.pread(self._descriptor, _READ_BYTES, self._position)
            self._position += len(records)
            for record in _RECORD.iter_unpack(records):
                if self._is_valid(*record):
                    claims.append(Claim(*record[2:]))
                    self.head += record[4]
            if len(records) < _READ_BYTES:
                return claims

    def _is_valid(self, trial: int, kind: int, _worker: int, first: int, _size: int) -> bool:
        """Whether a record is a valid claim; takes note of what the coordinator appended."""
        self.closed = self.closed or trial > self._trial  # a later trial has begun
        if trial != self._trial or self.closed:
            return False
        self.closed = kind == _CLOSE
        return kind == _CLAIM and first == self.head
