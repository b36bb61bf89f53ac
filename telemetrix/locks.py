"""Locks that a fork cannot leave held for ever.

A child process has only the thread that forked; a lock that another thread held at that moment stays locked in the
child. Owners of locks register here and get them renewed.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class LockOwner(Protocol):
    """Something that holds locks for short moments."""

    def renew_locks(self) -> None:
        """Replace every lock by a new one."""
        ...


_owners: WeakSet[LockOwner] = WeakSet()


def survive_fork(owner: LockOwner) -> None:
    """Have the owner's locks renewed in every child process; the owner is held weakly."""
    _owners.add(owner)


def _renew_all() -> None:
    for owner in list(_owners):
        owner.renew_locks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
