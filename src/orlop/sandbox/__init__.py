"""Floor 3: what keeps a program to its own: namespaces, Landlock, seccomp, limits.

`tiers` finds out what this machine has, `cell` builds the command line, and what runs inside
(`inside` and what it imports) is standard library only, since it starts with each program.
"""
