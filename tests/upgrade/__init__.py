"""The release before and this one, side by side on one ledger and one Temporal."""
