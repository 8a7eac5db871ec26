"""Any Kubernetes cluster by a kubeconfig context."""
