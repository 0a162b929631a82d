"""pcinv.geometry"""
