"""What a pod costs in the lab: time until it is ready, memory, and whether samples are lost with many of them."""
