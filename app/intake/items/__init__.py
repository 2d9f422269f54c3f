"""From bytes as they arrive to chunks of items.

One generator draws on the next: `decompression`, a format (`ndjson`, `csv_table`,
`json_array`), `fanfold.intake.cutting`; `parsing` puts them together. None holds more than a few
megabytes, whatever passes through.

Imports `fanfold.app.http`, `fanfold.intake`, `contract` and `ledger`.
"""
