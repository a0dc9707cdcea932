"""A Hugging Face Hub on 127.0.0.1, so that trials and tests run the real clients without a network.

It serves what `huggingface_hub`, `datasets`, `transformers` and `peft` ask for: accounts, repositories, commits with
LFS uploads, listings, downloads with byte ranges. To start it:

    python -m cadvi_hub.hub.loopback --root hub --port 8900

This prints the environment variables to export. Set them before a client is imported.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from cadvi_hub.hub.loopback_routes import ROUTES
from cadvi_hub.hub.loopback_server import HubServer

TOKEN = "hf_loopback"  # noqa: S105 valid only for this Hub


class LoopbackHub(HubServer):
    """The Hub below `root`; a context manager that serves from a thread. Port 0 uses a free one."""

    def __init__(self, root: Path, port: int = 0, token: str = TOKEN):
        super().__init__(ROUTES, root, port, token)


def main() -> None:
    """Serve a folder until interrupted."""
    parser = argparse.ArgumentParser(description="A Hugging Face Hub on 127.0.0.1.")
    parser.add_argument("--root", type=Path, required=True, help="folder for everything that is stored")
    parser.add_argument("--port", type=int, default=8900, help="0 uses a free one")
    arguments = parser.parse_args()
    with LoopbackHub(arguments.root, arguments.port) as hub:
        print(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={hub.token} HF_HUB_DISABLE_XET=1", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
