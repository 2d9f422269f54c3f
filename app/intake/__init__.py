"""Data of any size, taken in while it arrives: expanded, parsed, checked, cut into chunks.

The bytes are handled in a thread of the upload's own, which the event loop feeds through
a small buffer (`reception`). There one generator draws on the next: `multipart`,
`expansion`, the formats (`ndjson`, `csv_rows`, `json_array`), `cutting`. Nothing here
holds more than a few megabytes, whatever passes through.
"""
