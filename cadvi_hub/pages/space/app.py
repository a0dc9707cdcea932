"""The page as a Space on the Hub; its variables say what it shows (README.md)."""

import os

from cadvi_hub.pages.settings import ViewSettings
from cadvi_hub.pages.view import view

view(
    ViewSettings(
        data=os.environ.get("CADVI_DATA", ""),
        model=os.environ.get("CADVI_MODEL", ""),
        host="0.0.0.0",  # noqa: S104  (a Space is reached from outside its container)
        host_names=[os.environ.get("SPACE_HOST", "localhost")],  # the Hub sets it
    )
)
