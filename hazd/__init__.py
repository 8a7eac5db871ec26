"""hazd tells whether a Kubernetes service stays up while it is changed, why not, and the smallest fix.

Nothing heavy is imported here: the traffic worker and the sample app load this package inside a container that has
neither pandas nor the Kubernetes client.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
