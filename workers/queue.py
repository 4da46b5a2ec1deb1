"""What waits in one worker: frames of requests, taken from the front in batches."""

from collections import deque

import numpy as np
from numpy.typing import NDArray


class WaitingQueue:
    """First in, first out. Holds received frames as they are; nothing is copied per query."""

    def __init__(self) -> None:
        self._frames: deque[tuple[NDArray[np.void], int]] = deque()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def put(self, requests: NDArray[np.void], sent_ns: int) -> None:
        """Append REQUEST records that were sent at `sent_ns`."""
        if len(requests):
            self._frames.append((requests, sent_ns))
            self._waiting += len(requests)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._frames.clear()
        self._waiting = 0

    @property
    def oldest_ns(self) -> int:
        """When the query at the front was sent; the queue must not be empty."""
        return self._frames[0][1]

    def sent_ns_of(self, position: int) -> int | None:
        """When the query at this position was sent; None when fewer wait."""
        for requests, sent_ns in self._frames:
            if position < len(requests):
                return sent_ns
            position -= len(requests)
        return None

    def sent_until(self, moment_ns: int, most: int) -> int:
        """Count the queries at the front, at most `most`, that were sent by `moment_ns`."""
        count = 0
        for requests, sent_ns in self._frames:
            if sent_ns > moment_ns or count >= most:
                break
            count += len(requests)
        return min(count, most)

    def take(self, count: int) -> NDArray[np.void]:
        """Remove and return up to `count` records from the front; a view when one frame has all."""
        parts = []
        while count > 0 and self._frames:
            requests, sent_ns = self._frames.popleft()
            if len(requests) > count:
                self._frames.appendleft((requests[count:], sent_ns))
                requests = requests[:count]
            parts.append(requests)
            count -= len(requests)
            self._waiting -= len(requests)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def take_frame(self, most: int) -> tuple[NDArray[np.void], int]:
        """Remove up to `most` records of the first frame; return a view and when it was sent."""
        requests, sent_ns = self._frames[0]
        return self.take(min(most, len(requests))), sent_ns

    def put_back(self, requests: NDArray[np.void], sent_ns: int) -> None:
        """Put records that were taken but not served back to the front."""
        if len(requests):
            self._frames.appendleft((requests, sent_ns))
            self._waiting += len(requests)
