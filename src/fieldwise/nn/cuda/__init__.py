"""The table on a device that is not the processor: its rows, a gather, a fused sparse update.

`batch` brings a batch there and sorts its features by row; `table.DeviceTable` takes the place of `nn.table.Table`
behind the same calls; `operations` moves memory, in torch's operations, which run on any device and in any precision.
"""
