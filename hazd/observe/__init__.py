"""The kernel's own word on a node: which endpoint its connection tracking chose for each connection to a Service.

Standard library only: it ships into the container, and runs in the network namespace of a node (a pod with hostNetwork
and NET_ADMIN) beside the traffic that it watches. It listens to netlink and changes nothing.
"""
