"""Speed and memory against peers, side by side in one run; needs a checkout, is not installed.

`carousel bench` runs `session.py`; `attention.py` is a script of its own.
"""
