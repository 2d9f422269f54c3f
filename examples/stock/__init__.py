"""What do all stores have, and what do they need? A tree: regions, countries, stores."""
