"""What `tables.device` does to rows, in torch's operations, on any device and in any precision.

`staging` and `batch` bring a batch there and sort its features by row; `operations` gathers rows and moves them;
`storage` is how a row holds its numbers, bit for bit as on the host.
"""
