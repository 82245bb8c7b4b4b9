"""A drill that restarts PostgreSQL under load as if it had crashed: each answered calculation is recorded once."""

from __future__ import annotations

import asyncio
import random
from time import monotonic

from drills.support.finding import Finding, faults
from drills.support.history import compare, not_counted, over_http
from drills.support.load import Ledger, Load
from pycalc.db import migrate_database
from tests.harness.postgres import Postgres, postgres
from tests.harness.servers import A_DAY, log_in, pycalc

_FEWEST_ANSWERS = 50
_LONGEST_LOAD = 1.0
_RECOVERED_SECONDS = 1.0


def postgres_restarts(rounds: int = 20) -> Finding:
    """Restart the database ``rounds`` times with ``-m immediate`` while clients calculate."""
    with postgres() as database:
        url = database.new_database()
        asyncio.run(migrate_database(url))
        return asyncio.run(_restarts(database, url, rounds))


async def _restarts(database: Postgres, url: str, rounds: int) -> Finding:
    ledger, chance = Ledger(), random.Random()  # noqa: S311  # moments, not secrets
    recoveries: list[float] = []
    with pycalc(database_url=url, access_token_seconds=A_DAY) as server:
        token = log_in(server)
        async with Load(ledger, token, patient=True).on(server.port):
            for _ in range(rounds):
                await ledger.more_answers(_FEWEST_ANSWERS)
                await asyncio.sleep(chance.uniform(0, _LONGEST_LOAD))
                await asyncio.to_thread(database.restart, "immediate")
                began = monotonic()
                await ledger.more_answers(1)
                recoveries.append(monotonic() - began)
        rows = list(over_http(server.url, token))
        uncounted = await not_counted(server.url, token, len(rows))
    refused = [exchange for exchange in ledger.exchanges if exchange.status == 503]
    slowest = max((exchange.seconds for exchange in refused), default=0.0)
    return Finding(
        "postgres restarts",
        f"PostgreSQL restarted {rounds} times with -m immediate under load",
        {
            "requests": len(ledger.exchanges),
            "answered 2xx": ledger.answered,
            "503": len(refused),
            "slowest 503, s": slowest,
            "slowest recovery, s": max(recoveries),
        },
        faults(
            **compare(ledger, rows)._asdict(),
            events_not_counted_once=uncounted,
            unanswered=sum(exchange.status is None for exchange in ledger.exchanges),
            other_answers=sum(exchange.status not in (None, 200, 503) for exchange in ledger.exchanges),
            without_retry_after=sum(exchange.retry_after is None for exchange in refused),
            refusals_over_2_s=sum(exchange.seconds > 2 for exchange in refused),
            recoveries_over_1_s=sum(seconds > _RECOVERED_SECONDS for seconds in recoveries),
        ),
    )
