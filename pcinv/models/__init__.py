"""pcinv.models"""
