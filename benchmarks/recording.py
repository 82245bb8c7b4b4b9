"""A benchmark of recording calculations in SQLite and in PostgreSQL."""

from __future__ import annotations

import asyncio
import statistics

from benchmarks.support.timing import Load, burst
from pycalc.db import migrate_database
from tests.harness.postgres import postgres
from tests.harness.servers import log_in, pycalc

ROUNDS = 5
SECONDS = 4


def recording() -> None:
    """Print the rates with SQLite and PostgreSQL. The printed processor time does not include PostgreSQL's own."""
    print(f"\n## Recording on SQLite and on PostgreSQL ({ROUNDS} rounds of {SECONDS} s, medians)\n")
    with postgres() as server:
        url = server.new_database()
        asyncio.run(migrate_database(url))
        with pycalc() as embedded, pycalc(database_url=url) as shared:
            targets = {"SQLite": (embedded, log_in(embedded)), "PostgreSQL": (shared, log_in(shared))}
            loads: dict[str, list[Load]] = {name: [] for name in targets}
            for _ in range(ROUNDS):
                for name, (instance, token) in targets.items():
                    loads[name].append(burst(instance, "/fibonacci/100", token, SECONDS))
    print("| database | calculations/s | pycalc's CPU us each | p99 ms |")
    print("|---|---|---|---|")
    for name, of in loads.items():
        rate, cpu, p99 = (
            statistics.median(values) for values in zip(*((x.per_second, x.cpu_us, x.p99_ms) for x in of), strict=True)
        )
        print(f"| {name} | {rate:.0f} | {cpu:.0f} | {p99:.1f} |")
    pairs = zip(loads["PostgreSQL"], loads["SQLite"], strict=True)
    ratio = statistics.median(shared.per_second / embedded.per_second for shared, embedded in pairs)
    print(f"\n- PostgreSQL / SQLite: **{ratio:.2f}** (target 0.9)")
