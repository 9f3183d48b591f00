"""Cluster: who the members are and who leads, as ``db.cluster``.

>>> import concord_kv
>>> with concord_kv.open(listen="127.0.0.1:0", bootstrap_expect=1, cookie="secret") as db:
...     db.cluster.wait_ready(30)
...     len(db.cluster.members())
1
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from concord_kv import _native
from concord_kv.errors import InvalidConfigError, NotFoundError
from concord_kv.options import text

if TYPE_CHECKING:
    from concord_kv.db import Db

T = TypeVar("T")

Node = int | str
"""A node: its id, or the name (or address) that members() gives."""


class Cluster:
    """The membership verbs of a store or client; get it as ``db.cluster``.

    Any member and any client can be asked. Each verb blocks until the change is committed and raises
    ClusterNotReadyError when there is no majority, TimedOutError or UnknownOutcomeError when no answer comes within
    ``timeout`` seconds (5). A node is named by its id, or by its name or address as :meth:`members` gives them.

    ``db.cluster.transfer_leadership("node2")``
    """

    __slots__ = ("_db",)

    def __init__(self, db: Db) -> None:
        """Speak for this store."""
        self._db = db

    def __repr__(self) -> str:
        return f"<concord_kv.Cluster of {self._db!r}>"

    @property
    def ready(self) -> bool:
        """Whether this node serves: it belongs to a cluster, has caught up, and knows a leader with a majority."""
        return self._db._is_ready()

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until this node serves. Raises TimedOutError, whose message says what is missing; Ctrl-C ends it."""
        self._db._wait_ready(timeout)

    def members(self) -> list[dict[str, Any]]:
        """Members: node (its id), address, name, role, leader; matched_index, lag, last_contact_ms as far as known."""
        return self._db.members()

    def add(self, address: str, *, timeout: float | None = None) -> int:
        """Take in the node that listens at ``host:port`` and belongs to no cluster yet; its node id.

        It starts as a learner and is promoted when it has caught up. Nodes that were opened with ``seeds`` do this by
        themselves. Raises InvalidConfigError when it belongs to another cluster.
        """
        encoded = text("address", address)
        return interruptible(lambda: self._db._cluster_add(encoded, timeout))

    def promote(self, node: Node, *, timeout: float | None = None) -> None:
        """Make a learner that has caught up a voter. Raises NotFoundError, ClusterNotReadyError while it lags."""
        self._change(_native.PROMOTE, timeout, node)

    def remove(self, node: Node, *, timeout: float | None = None) -> None:
        """Remove a member for good, whether it runs or not.

        It stops serving and can come back only with an empty directory. Raises NotFoundError, InvalidConfigError for
        the last voter.
        """
        self._change(_native.REMOVE, timeout, node)

    def replace(self, old: Node, new: Node, *, timeout: float | None = None) -> None:
        """Put a learner that has caught up in the place of a voter: the way back for a node that lost its disk."""
        self._change(_native.REPLACE, timeout, old, new)

    def transfer_leadership(self, node: Node | None = None, *, timeout: float | None = None) -> None:
        """Hand leadership to this voter, or to the one that is furthest. Raises NotFoundError, ClusterNotReadyError."""
        self._change(_native.TRANSFER_LEADERSHIP, timeout, 0 if node is None else node)

    def leave(self, *, timeout: float | None = None) -> None:
        """Leave the cluster for good: hands leadership over and is removed. Close the store afterwards.

        To stop for a while just close the store. Raises InvalidConfigError for the last voter.
        """
        self._change(_native.LEAVE, timeout)

    def _change(self, change: int, timeout: float | None, node: Node = 0, other: Node = 0) -> None:
        def run() -> None:
            self._db._cluster_change(change, self._node_id(node), self._node_id(other), timeout)

        interruptible(run)

    def _node_id(self, node: Node) -> int:
        """Id of a node that is given by its id, its name or its address."""
        if isinstance(node, int) and not isinstance(node, bool):
            if not 0 <= node < 2**64:
                raise NotFoundError(f"no member has the node id {node}")
            return node
        if not isinstance(node, str):
            raise TypeError(f"a node is an int or a str, not {type(node).__name__}")
        found: list[int] = [member["node"] for member in self.members() if node in (member["name"], member["address"])]
        if not found:
            raise NotFoundError(f"no member is called {node!r}; db.cluster.members() lists them")
        if len(found) > 1:
            raise InvalidConfigError(f"{len(found)} members are called {node!r}; name one by its node id")
        return found[0]


def interruptible(call: Callable[[], T], unwanted: Callable[[T], object] | None = None) -> T:
    """Run a call that blocks so that Ctrl-C ends the wait at once; the call itself goes on behind it.

    ``unwanted`` gets its result when nobody waits for it any more.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    answer: Future[T] = Future()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    def drop(answer: Future[T]) -> None:
        if unwanted is not None and answer.exception() is None:
            unwanted(answer.result())

    try:
        threading.Thread(target=run, name="concord", daemon=True).start()
        return answer.result()
    except KeyboardInterrupt:
        answer.add_done_callback(drop)
        raise


__all__ = ["Cluster", "Node"]
