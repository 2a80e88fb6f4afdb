"""A telemetry block in an item's bytes: put in, taken out, read. Pure: bytes in, bytes out."""

from rye_telemetry.bake.block import EXTRAS, FIELDS, PUBLISHED
from rye_telemetry.bake.carriers import Baked, bake_bytes, is_supported, read_bytes, strip_bytes

__all__ = [
    "EXTRAS",
    "FIELDS",
    "PUBLISHED",
    "Baked",
    "bake_bytes",
    "is_supported",
    "read_bytes",
    "strip_bytes",
]
