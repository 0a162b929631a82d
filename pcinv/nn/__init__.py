"""pcinv.nn"""
