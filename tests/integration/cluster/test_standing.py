"""Which zones the nodes of a cluster have: by the settings that they published, running or not."""

from __future__ import annotations

import pytest

from dnssecd.cluster import settings
from dnssecd.cluster.standing import Standing
from dnssecd.config.errors import where_text
from tests.integration.cluster.world import World

pytestmark = pytest.mark.integration


def test_zones_of_the_nodes(world: World) -> None:
    standing = Standing(world["a"].database.place)
    try:
        published = settings.encode({where_text(("zone", "here.test.")): {}})
        for name in "ab":
            world[name].membership.publish(b"digest", published)
        world.die("b")
        assert standing.configured(["here.test.", "gone.test."]) == {"here.test."}
        assert standing.configured([]) == frozenset()
        world["b"].membership.publish(b"digest", b"damaged")
        assert standing.configured(["gone.test."]) == {"gone.test."}, "not known is not gone"
    finally:
        standing.close()
