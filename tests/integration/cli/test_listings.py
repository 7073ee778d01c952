"""Listings of a database import nothing heavy, also where a campaign waits."""

import pytest

from integration.conftest import Cluster
from listings import LISTINGS, ran


@pytest.mark.usefixtures("servers")
def test_no_listing_imports_what_takes_longer_than_it(cluster: Cluster, tmp_path, monkeypatch) -> None:
    cluster.submit("one", name="night")
    listings = (*LISTINGS, "models")
    variables = {
        "NNLITE_DATABASE_URL": cluster.settings.database_url,
        "NNLITE_BROKER_URL": cluster.settings.broker_url,
        "NNLITE_LEMUR": str(cluster.settings.lemur),
    }
    homes = [tmp_path / f"home-{number}" for number in range(len(listings))]
    for home in homes:
        home.mkdir()
    found = ran([(home, listing.split(), variables) for home, listing in zip(homes, listings, strict=True)])
    imported = {listing: each.heavy for listing, each in zip(listings, found, strict=True) if each.heavy}
    # Nothing of the campaign runs: Redis is asked which workers there are.
    assert imported == {"status": ["redis"]}
    assert [each.code for each in found] == [0] * len(listings)
