"""Turn a camera or stream into events: when does an action start, and when does it end?"""
