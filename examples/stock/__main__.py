"""`python -m examples.stock`: takes stock everywhere, and prints it level by level."""

from typing import Any

from examples.stock.stores import by_region_and_country, stock_of
from examples.terminal import gateway, watch
from fanfold import Fanfold, Job


def stock_job() -> dict[str, Any]:
    """A job made of regions, made of countries, made of stores; these alone have data."""
    return {
        "name": "stock by region and store",
        "processor": "take_stock",
        "options": {"weeks": 2},
        "reducer": "stock_totals",
        "jobs": {
            region: {
                "jobs": {
                    country: {"jobs": {store: {"items": stock_of(store)} for store in stores}}
                    for country, stores in countries.items()
                }
            }
            for region, countries in by_region_and_country().items()
        },
    }


def main() -> None:
    """Submit the tree, wait, and print each level of it."""
    with gateway() as client:
        job = watch(client, client.submit(stock_job()))
        print(f"{job.state}: {job.items.total} lines of stock")
        print(f"{'':<20}{'stores':>8}{'units':>8}{'to order':>10}")
        for region in client.sub_jobs(job.id):
            print_level(client, region)
            for country in client.sub_jobs(region.id):
                print_level(client, country)
        print_level(client, job)
        print("to order:", ", ".join(f"{n} {sku}" for sku, n in job.result["to_order"].items()))
        for store in client.children(job.id, state="failed"):
            print(f"not counted: {store.path}: {store.error.message if store.error else ''}")


def print_level(client: Fanfold, job: Job) -> None:
    """A line of the table: a part of the tree, of which listings leave out the result."""
    result = client.get(job.id).result
    *above, name = (job.path or "all").split("/")
    to_order = sum(result["to_order"].values())
    print(f"{'  ' * len(above) + name:<20}{job.chunks.total:>8}{result['units']:>8}{to_order:>10}")


if __name__ == "__main__":
    main()
