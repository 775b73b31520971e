"""A survey in the orders and groups that pages need: made once for each survey, not for each page.

With ten thousand zones a page then costs what its rows cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

from dnssecd.control.messages.zones import ZoneStatus
from dnssecd.page.model import AlertGroup, Coming, Page, Survey, Task, ZoneView
from dnssecd.page.overview import Query, group, list_alerts, list_tasks, select
from dnssecd.page.weeks import DayEntries, by_days

TASKS_MAX = 25
ALERTS_MAX = 25
COMING_MAX = 12


class Digest:
    """What pages show of a survey. Parts are made when first wanted; none is changed, so threads may share it."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self._orders: dict[tuple[str, str], list[ZoneStatus]] = {}

    def zones(self, query: Query) -> list[ZoneStatus]:
        """Return the zones that a query asks for, in its order."""
        every = self._orders.get((query.show, query.sort))
        if every is None:
            every = select(self.survey.status.zones, Query(show=query.show, sort=query.sort))
            self._orders[query.show, query.sort] = every
        return [zone for zone in every if query.text in zone.zone] if query.text else every

    @cached_property
    def tasks(self) -> list[Task]:
        """What waits for people: what is late first, then what is due, then what comes."""
        return list_tasks(self.survey.status.zones)

    @cached_property
    def alerts(self) -> list[AlertGroup]:
        """All alerts, worst first; the same alert of many zones is one."""
        return group(list_alerts(self.survey.status.alerts, self.survey.status.zones))

    @cached_property
    def days(self) -> Mapping[int, DayEntries]:
        """What comes, by day."""
        return by_days(self.survey.coming)

    @cached_property
    def acts(self) -> list[Coming]:
        """What a person does, earliest first."""
        return [entry for entry in self.survey.coming if entry.act]

    def warm(self) -> None:
        """Make all that the first page shows."""
        self.page(Query())
        assert self.days is not None

    def page(self, query: Query) -> Page:
        """Return what the overview shows."""
        survey, status = self.survey, self.survey.status
        matching = self.zones(query)
        pages = max(1, -(-len(matching) // query.per))
        page = min(query.page, pages)
        return Page(
            taken_at=survey.taken_at,
            host=survey.host,
            version=status.version,
            started_at=status.started_at,
            verdict=status.verdict,
            clock=status.clock,
            key_service=status.signer,
            delivery=status.delivery,
            tasks=self.tasks[:TASKS_MAX],
            tasks_more=len(self.tasks) - len(self.tasks[:TASKS_MAX]),
            alerts=self.alerts[:ALERTS_MAX],
            alerts_more=len(self.alerts) - len(self.alerts[:ALERTS_MAX]),
            zones=matching[(page - 1) * query.per : page * query.per],
            matching=len(matching),
            page=page,
            pages=pages,
            stores=survey.stores,
            # What a person does next; where there is nothing, what dnssecd does next.
            coming=(self.acts or survey.coming)[:COMING_MAX],
            looked_ahead=survey.looked_ahead,
            freezes=survey.freezes,
            docs_url=survey.docs_url,
        )


class Source(Protocol):
    """Where the pages have their data from. Methods are called in threads, and return within some seconds."""

    def digest(self) -> Digest:
        """Return the state of all zones, at most some seconds old; raise Unavailable."""

    def zone(self, name: str, days: int) -> ZoneView | None:
        """Return the state of a zone, and its keys for *days* days ahead; None: there is no such zone.

        Raise Unavailable.
        """
