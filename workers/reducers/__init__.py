"""The built-in reducers, one a module: see `workers.processor.Reducer`."""
