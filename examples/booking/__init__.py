"""A flight, a hotel, a car: all of it, or nothing. A saga with compensation."""
