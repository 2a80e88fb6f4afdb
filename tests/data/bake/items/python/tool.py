#!/usr/bin/env python3
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
