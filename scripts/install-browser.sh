#!/bin/sh
# Installs Chromium for the browser tests where that is possible: from Debian's packages,
# as root. Elsewhere those tests are skipped, by name and with the reason.
set -eu
command -v chromium >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing Chromium for the browser tests ..."
    # One that cannot be installed leaves the tests skipped; CI takes a skip as a failure.
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } \
        >/dev/null 2>&1 || echo "Chromium could not be installed." >&2
fi
