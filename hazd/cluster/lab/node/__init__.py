"""What runs on every node: the kubelet with its pods, and the proxy."""
