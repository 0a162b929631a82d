"""The console of pcinv: thin shells, one file a verb, over the public functions of the library."""
