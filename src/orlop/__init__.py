"""An operating system for AI agents.  Start reading at `orlop.boot`, then `orlop.kernel.syscall`."""

__version__ = "0.1.0"
