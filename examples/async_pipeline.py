"""An async pipeline: every record is enriched by a slow and flaky service, ten at a time, and no record is lost.

Run it: python examples/async_pipeline.py
"""

from __future__ import annotations

import asyncio
import random

from telemetrix import CircuitBreaker, OperationTimeout, batch_with_retry, fallback, timeout

chance = random.Random(7)  # the same faults on each run
geocoder = CircuitBreaker(failure_threshold=8, recovery_timeout=1.0, name="geocoder")


class Record:
    def __init__(self, number: int) -> None:
        self.number = number


@fallback("unknown", exceptions=ConnectionError)
async def region_of(record: Record) -> str:
    """Nice to have: a default will do."""
    if chance.random() < 0.2:
        raise ConnectionError("region service")
    return f"region {record.number % 3}"


@geocoder
@timeout(seconds=0.05)
async def position_of(record: Record) -> int:
    """A must: the batch retries it. Now and then it hangs, and the timeout ends that."""
    hangs = chance.random() < 0.1
    await asyncio.sleep(10 if hangs else 0.002)
    if chance.random() < 0.2:
        raise ConnectionError("geocoder")
    return record.number * 100


async def enrich(record: Record) -> tuple[int, int, str]:
    if record.number == 13:
        raise ValueError("a record that no retry can help")
    return record.number, await position_of(record), await region_of(record)


def progress(processed: int, failed: int) -> None:
    print(f"  {processed} processed, {failed} of them failed")


async def main() -> None:
    records = [Record(number) for number in range(60)]
    successful, failed = await batch_with_retry(
        records,
        enrich,
        batch_size=20,
        max_retries=4,
        delay=0.01,
        exceptions=(ConnectionError, OperationTimeout),
        on_progress=progress,
        concurrency=10,
    )
    print(f"{len(successful)} enriched, {sum(region == 'unknown' for _, _, region in successful)} without a region")
    for item in failed:
        print(f"record {item.index} failed: {item.error!r}")
    print(f"circuit {geocoder.name}: {geocoder.state}")


if __name__ == "__main__":
    asyncio.run(main())
