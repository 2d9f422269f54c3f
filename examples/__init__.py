"""Examples that run: each a package with its processors, a script (`__main__.py`) and a page.

Of Fanfold they import what users may rely on, `fanfold`, and nothing else.
"""
