"""The first layer of every model: a row of weights for each feature, with its optimizer, behind one interface.

`interface.Table` is what a model and a step see. `host` keeps the rows in memory, `device` on a GPU, `sharded` over
several workers.
"""
