"""What fieldwise finds on this machine."""
