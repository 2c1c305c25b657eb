"""The locally connected layer and the deep parts that stand on it."""
