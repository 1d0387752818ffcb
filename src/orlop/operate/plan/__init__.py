"""`orlop plan`: a workload on a fleet that need not exist, under the kernel's own scheduler."""
