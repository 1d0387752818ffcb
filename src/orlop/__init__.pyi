from orlop.abi.errors import KernelError as KernelError
from orlop.sdk.agent import Agent as Agent
from orlop.sdk.agent import agent as agent
from orlop.sdk.functions import effect_key as effect_key
from orlop.sdk.kernel import Kernel as Kernel
from orlop.sdk.kernel import Process as Process
from orlop.sdk.kernel import connect as connect
from orlop.sdk.sync import SyncKernel as SyncKernel
from orlop.sdk.sync import SyncProcess as SyncProcess
from orlop.sdk.sync import connect_sync as connect_sync
from orlop.sdk.tokens import narrowed as narrowed

__all__ = [
    "Agent",
    "Kernel",
    "KernelError",
    "Process",
    "SyncKernel",
    "SyncProcess",
    "agent",
    "connect",
    "connect_sync",
    "effect_key",
    "narrowed",
]
__version__: str
