#!/bin/sh
# Creates the namespace that gateway and workers use, or sets its retention anew.
set -eu
: "${TEMPORAL_NAMESPACE:?}" "${TEMPORAL_RETENTION:?}"
wait_until() {
    left=60
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "gave up: $*" >&2; exit 1; }
        sleep 1
    done
}
wait_until temporal operator cluster health --command-timeout 5s
if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
    temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" \
        --retention "$TEMPORAL_RETENTION"
else
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" \
        --retention "$TEMPORAL_RETENTION"
fi
# The server takes some seconds to notice a new namespace, and a worker that asks for it
# earlier ends with an error.
wait_until temporal workflow list --namespace "$TEMPORAL_NAMESPACE" --limit 1
