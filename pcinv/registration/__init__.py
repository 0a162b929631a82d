"""Rigid registration of two clouds: the blocks of which `pcinv register` is made."""
