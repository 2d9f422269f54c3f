"""`python -m examples.booking`: opens an agency, books all trips, prints what is booked."""

from examples.booking.agency import Agency, open_agency
from examples.booking.trips import KINDS, TRIPS, city_of, trips_job
from examples.terminal import gateway, watch


def main() -> None:
    """Submit the trips, wait, and print what the agency has."""
    with open_agency() as agency, gateway() as client:
        job = watch(client, client.submit(trips_job(agency.url)))
        print(f"{job.state}: {job.jobs.succeeded if job.jobs else 0} of {len(TRIPS)} trips")
        states = {trip["name"]: trip["state"] for trip in job.result}
        for item in client.items(job.id, state="failed"):
            print(f"  {item.path}: {item.error.message if item.error else ''}")
        print_bookings(agency, states)


def print_bookings(agency: Agency, states: dict[str, str]) -> None:
    """Who has what: the agency's own books beside the states of the trips."""
    booked = {(each["traveller"], each["kind"]): each["state"] for each in agency.bookings()}
    print(f"{'':<18}{'trip':<11}" + "".join(f"{kind:<11}" for kind in KINDS).rstrip())
    for traveller, place in TRIPS.items():
        row = [states[traveller], *(booked.get((traveller, kind), "-") for kind in KINDS)]
        trip = f"{traveller}, {city_of(place)}"
        print(f"{trip:<18}" + "".join(f"{cell:<11}" for cell in row).rstrip())


if __name__ == "__main__":
    main()
