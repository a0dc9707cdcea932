"""`cadvi replies recover`: save what can be read of a damaged reply store."""

from __future__ import annotations

from itertools import islice

from cadvi_hub.core.errors import InputError
from cadvi_hub.generation.replies import ReplyStore, readable_replies
from cadvi_hub.generation.settings import RecoverSettings

_AT_ONCE = 1000


def recover(settings: RecoverSettings) -> str:
    """Copy every reply that can be read, and whose checksum matches, to a new store; the old one stays as it is.

    Raises:
        InputError: there is no such store, or the new one exists already.
    """
    if not settings.store.is_file():
        raise InputError(str(settings.store), "no such file", "Name a reply store, such as replies.sqlite")
    if settings.out.exists():
        raise InputError(str(settings.out), "it exists already", "Choose another out")
    saved, new = readable_replies(settings.store), ReplyStore(settings.out)
    while batch := dict(islice(saved, _AT_ONCE)):
        new.put(batch)
    count = len(new)
    new.close()
    return f"{settings.out}: {count} replies saved. Put it in the place of {settings.store}; the rest is asked again"
