"""Floor 8: system calls for Python programs.  Use it as `orlop.connect`, `orlop.agent`, …"""
