"""The primitives, one file each: a sync and an async driver around the same decision of `telemetrix._core`."""
