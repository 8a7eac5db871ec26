"""One trial and the order of many: the only place where cluster, traffic and scenario meet."""
