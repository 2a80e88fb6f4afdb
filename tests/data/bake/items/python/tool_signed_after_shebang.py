#!/usr/bin/env python3
# ryeos:signed:2026-03-02T17:05:41Z:654f53dbb3ae5351c0e370559e9affc28769ae8d2e19dc97f257137838e7e4fc:qf7sT2v_Zk1nJb-0aXw9LmPc3RyHd8EoUg5iVtNxQ4sKz6BjWl2fYrCpA7hMuD1eGvO0IqXTnS5kZb9wJy3Laa==:9f2c51d07b6e4a8890c3de417a5b2f6013c8d94e7720ab5c66f1e8830d4b97a2
# -*- coding: utf-8 -*-
"""Count words."""

from __future__ import annotations

__version__ = "1.0.0"
__tool_type__ = "python"
__category__ = "text"


def execute(params: dict, project_path: str) -> dict:
    """Return the number of words in `params["text"]`."""
    return {"success": True, "words": len(params["text"].split())}


if __name__ == "__main__":
    import sys

    print(execute({"text": sys.stdin.read()}, "."))
