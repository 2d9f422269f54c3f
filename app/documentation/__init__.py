"""What clients read about the API: the OpenAPI document, its examples, Swagger UI.

Imports the models of `intake`, `answers` and `http`.
"""
