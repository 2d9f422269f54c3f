"""The gateway: HTTP in front, the ledger and Temporal behind. No user code runs here.

    main                    puts everything together
    routes                  parse a request, call, return
    services                what the routes call
    documentation           the OpenAPI document, Swagger UI
    intake                  from a request to a recorded job
    answers                 children, items and results as clients get them
    loops                   work beside the requests: starts, checks, cancels, deletes
    temporal                calls to Temporal, schedules
    http                    headers, hosts, errors, streams, the server

Each imports those below it only. The package imports `answers`, `intake`, `ledger`
and `contract`; never `workers`.
"""
