"""The database interface of the services: one store for each aggregate, over a ``Database`` that runs transactions.

Each store method is one transaction. When a writing method returns, its effect is durable. Every method raises
StoreUnavailable when the database is closed, cannot write, or does not answer in time.
"""

from __future__ import annotations

from pycalc.db.base.database import ROWS_PER_STATEMENT as ROWS_PER_STATEMENT
from pycalc.db.base.database import Database as Database
from pycalc.db.base.dead_letters import DeadLetter as DeadLetter
from pycalc.db.base.dead_letters import DeadLetterStore as DeadLetterStore
from pycalc.db.base.history import HistoryFilter as HistoryFilter
from pycalc.db.base.history import HistoryStore as HistoryStore
from pycalc.db.base.keys import KeyBearer as KeyBearer
from pycalc.db.base.keys import KeyStore as KeyStore
from pycalc.db.base.outbox import OutboxRow as OutboxRow
from pycalc.db.base.outbox import OutboxStore as OutboxStore
from pycalc.db.base.revocations import Revocations as Revocations
from pycalc.db.base.revocations import RevocationStore as RevocationStore
from pycalc.db.base.sessions import NewSession as NewSession
from pycalc.db.base.sessions import Refresh as Refresh
from pycalc.db.base.sessions import Rotation as Rotation
from pycalc.db.base.sessions import SessionLimits as SessionLimits
from pycalc.db.base.sessions import SessionStore as SessionStore
from pycalc.db.base.usage import UsageFilter as UsageFilter
from pycalc.db.base.usage import UsageStore as UsageStore
from pycalc.db.base.users import UserStore as UserStore
