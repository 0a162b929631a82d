"""pcinv.io"""
