"""Reads samples nobody vouches for, in a process of its own: `python -m hazd.journal.salvage FILE [FILE...]`.

Arrow trusts the offsets and lengths in a file; damaged ones can crash the process that reads them. So a file without a
matching checksum is read here: each batch that passes Arrow's full validation goes to standard output as an Arrow
stream, and what ended the reading to standard error. The reader keeps what came, however this process ends.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from hazd.journal.reader import fitting, stored_batches
from hazd.journal.schema import sample_schema

MEMORY_BYTES = 8 << 30
"""Of address space: a damaged length must not take the machine's memory."""
CPU_S = 120


def main(names: list[str]) -> int:
    import pyarrow as pa

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    schema = sample_schema()
    with pa.ipc.new_stream(sys.stdout.buffer, schema) as out:
        sys.stdout.flush()
        try:
            for name in names:
                for batch in stored_batches(Path(name)):
                    out.write_batch(fitting(batch, schema))
                    sys.stdout.flush()
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, MemoryError) as error:
            print(" ".join(str(error).split()), file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
