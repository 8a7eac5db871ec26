"""Clusters behind one port: kind, any kubeconfig context, and the embedded lab."""
