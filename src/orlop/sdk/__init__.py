"""Floor 6: system calls for Python programs.  Use it as `orlop.connect`, `orlop.agent`, …"""
