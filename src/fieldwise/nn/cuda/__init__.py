"""The table on a device that is not the processor: its rows, a gather, a fused sparse update.

`batch` brings a batch there and sorts its features by row; `table.DeviceTable` takes the place of `nn.table.Table`
behind the same calls. What moves memory is an *engine*, one of two modules with the same two functions::

    gather(rows, batch, num_fields, num_local, num_full, dtype)       local (B, F K) and full (B, W)
    update(rows, batch, merge, local, full, num_fields, rule)         the fused update, in place

`fused` in Triton (`kernels`), for an NVIDIA GPU; and `operations` in torch, which run anywhere: what float64 uses, and
what stands in for a GPU where there is none. Triton is imported where there is a GPU, and nowhere else.
"""
