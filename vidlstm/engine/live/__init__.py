"""A camera or stream to events: when does an action begin, when does it end?"""
