"""pcinv.tasks"""
