"""pcinv.ops"""
