"""Reports as self-contained HTML, without scripts or network access.

They draw plain figures (`content`), which `jobs.report` measures; nothing here reads a log or a model.
"""
