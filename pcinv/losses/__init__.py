"""pcinv.losses"""
