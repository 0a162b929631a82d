"""pcinv.metrics"""
