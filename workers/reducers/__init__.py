"""The built-in reducers, one a module: see `fanfold.workers.processor.Reducer`."""
