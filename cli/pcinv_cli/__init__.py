"""The console of pcinv."""
