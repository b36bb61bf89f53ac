"""Locks that a fork cannot leave held for ever.

A child process has only the thread that forked; a lock that another thread held at that moment stays locked in the
child. Owners of locks register here and get them renewed.
"""

from __future__ import annotations

import os
from typing import Protocol, runtime_checkable
from weakref import WeakSet


class LockOwner(Protocol):
    """Something that holds locks for short moments."""

    def renew_locks(self) -> None:
        """In the child: replace every lock by a new one."""
        ...


@runtime_checkable
class ForkWaiter(LockOwner, Protocol):
    """A lock owner whose work a fork has to wait for."""

    def before_fork(self) -> None:
        """Take the locks."""
        ...

    def after_fork_in_parent(self) -> None:
        """Give them back."""
        ...


_owners: WeakSet[LockOwner] = WeakSet()
_waited_for: list[ForkWaiter] = []


def survive_fork(owner: LockOwner) -> None:
    """Have the owner's locks renewed in every child process; the owner is held weakly."""
    _owners.add(owner)


def _wait_for_all() -> None:
    _waited_for[:] = [owner for owner in list(_owners) if isinstance(owner, ForkWaiter)]
    for owner in _waited_for:
        owner.before_fork()


def _let_go_of_all() -> None:
    while _waited_for:
        _waited_for.pop().after_fork_in_parent()


def _renew_all() -> None:
    for owner in list(_owners):
        owner.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_all, after_in_parent=_let_go_of_all, after_in_child=_renew_all)
