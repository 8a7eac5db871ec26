"""The lab on a real kernel: namespaces, rules, processes and their end."""
