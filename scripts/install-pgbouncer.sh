#!/bin/sh
# Installs PgBouncer for the tests of a ledger behind a pooler where that is possible: from
# Debian's packages, as root. Elsewhere those tests are skipped, by name and with the reason.
set -eu
PATH="$PATH:/usr/sbin"
command -v pgbouncer >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing PgBouncer for the tests of a pooler ..."
    # One that cannot be installed leaves the tests skipped; CI takes a skip as a failure.
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq pgbouncer; } \
        >/dev/null 2>&1 || echo "PgBouncer could not be installed." >&2
fi
