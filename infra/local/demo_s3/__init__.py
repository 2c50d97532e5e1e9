"""`make demo-s3`: the drop folder as a service, all of it on this machine: no account, no key.

``demo.py`` is the order of events; the other modules are what it needs for them. Whatever Sluice does here is done by
the commands that a user types, run as processes.
"""
