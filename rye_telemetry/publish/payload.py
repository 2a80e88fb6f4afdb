"""An item and its numbers apart, as one JSON object, for registries that store them apart."""

from __future__ import annotations

import base64
import contextlib
import os
from typing import TYPE_CHECKING

from rye_telemetry.bake import strip_bytes
from rye_telemetry.content import content_hash_of
from rye_telemetry.errors import BakeRefused, UsageInvalid
from rye_telemetry.publish.numbers import Numbers
from rye_telemetry.publish.order import named_item
from rye_telemetry.publish.write import read_file

if TYPE_CHECKING:
    from rye_telemetry.publish.numbers import Scope
    from rye_telemetry.publish.order import Order
    from rye_telemetry.store import TelemetryStore


def payload(order: Order, scope: Scope, store: TelemetryStore, *, cwd: str) -> dict[str, object]:
    """Return item, content without its block, and the numbers (None where nothing is recorded). The file is only read."""
    if order.item_id is None or order.item_path is None:
        raise UsageInvalid("an item and its file are needed: publish-payload ITEM --item-path FILE")
    path = os.path.join(cwd, order.item_path)
    numbers = Numbers(store, scope)
    item = named_item(order, numbers, cwd)
    data = read_file(path).data
    name = os.path.basename(path)
    telemetry = None if item is None else numbers.fields(item, data, name)
    digest = content_hash_of(data, name)
    with contextlib.suppress(BakeRefused):
        data = strip_bytes(data, name).data
    return {
        "item_id": order.item_id,
        "item_type": item[0] if item else order.item_type,
        "path": order.item_path,
        **_content(data),
        "content_hash": digest,
        "telemetry": telemetry,
    }


def _content(data: bytes) -> dict[str, str]:
    try:
        return {"content": data.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"content": base64.b64encode(data).decode(), "encoding": "base64"}
