"""The SQL of the list of accounts."""

from __future__ import annotations

from sqlalchemy import Connection, func, literal, or_, select, tuple_

from pycalc.db.base import UserSelection
from pycalc.db.sql_store import SqlStore
from pycalc.db.tables import search_key, usage, users
from pycalc.db.usage import LOW
from pycalc.db.users import user_of
from pycalc.models.auth import NO_PASSWORD, ListedUser, UserOrder


class SqlUserListStore(SqlStore):
    """The list of accounts in SQL."""

    async def page(self, selection: UserSelection, limit: int, day: int) -> list[ListedUser]:
        names = (users.c.username_key, users.c.email_key)  # sorted by their bytes in both databases
        value = {
            UserOrder.USERNAME: names[0],
            UserOrder.CREATED_AT: users.c.created_ms,
            UserOrder.LAST_SIGN_IN_AT: users.c.signed_in_ms,
        }[selection.order]
        order = (value.desc(), users.c.id.desc()) if selection.descending else (value, users.c.id)
        query = select(users, value.label("order_value")).order_by(*order).limit(limit)
        if selection.prefix is not None:
            first = search_key(selection.prefix)
            # A range, because the indexes of both databases search for ranges. No name with the prefix is after it.
            begins = [(name >= first) & (name < first + "\U0010ffff") for name in names]
            begins[1] &= users.c.password_hash != NO_PASSWORD  # the others' address key is the account's id
            query = query.where(or_(*begins))
        if selection.after is not None:
            place = tuple_(value, users.c.id)
            last = tuple_(*(literal(part) for part in selection.after))
            query = query.where(place < last if selection.descending else place > last)

        def work(connection: Connection) -> list[ListedUser]:
            found = connection.execute(query).all()
            of_day = usage.c.user_id.in_([row.id for row in found]) & (usage.c.day == day)
            columns = usage.c.count, usage.c.digits_high, usage.c.digits_low, usage.c.compute_us
            totals = select(usage.c.user_id, *map(func.sum, columns)).where(of_day).group_by(usage.c.user_id)
            figures = {user_id: list(map(int, values)) for user_id, *values in connection.execute(totals)}
            listed = []
            for row in found:
                count, high, low, compute_us = figures.get(row.id, (0, 0, 0, 0))
                used = count, high * LOW + low, compute_us
                listed.append(ListedUser(user_of(row), row.order_value, row.signed_in_ms, *used))
            return listed

        return await self._database.read(work)
