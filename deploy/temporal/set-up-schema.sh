#!/bin/sh
# Creates Temporal's two databases, or brings them to this version's schema. Safe to run
# again: what exists is kept, and only newer schema versions are applied.
set -eu
schemas=/etc/temporal/schema/postgresql/v12
set_up() {
    temporal-sql-tool --db "$1" create
    temporal-sql-tool --db "$1" setup-schema -v 0.0
    temporal-sql-tool --db "$1" update-schema -d "$schemas/$2/versioned"
}
set_up temporal temporal
set_up temporal_visibility visibility
