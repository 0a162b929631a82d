"""pcinv.engine"""
