"""A writer for tests that kill it: submits by several threads and tells what was acknowledged.

    python -m tests.ledger.writer_process URL PREFIX [THREADS]

Prints ``ready CHAIN``, then ``KEY CHAIN SEQ HASH`` for every entry once it is durable, until it is killed.
"""

from __future__ import annotations

import os
import sys
import threading

from countermark.errors import LedgerError
from countermark.ledger import GroupCommitter, open_ledger
from tests.ledger.entries import AT


def main() -> None:
    address, prefix, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 8
    committer = GroupCommitter(open_ledger(address))
    os.write(1, f"ready {committer.chain}\n".encode())

    def work(place: int) -> None:
        number = 0
        while True:
            key = f"{prefix}-{place}-{number}"
            try:
                ref = committer.submit("decision", key, os.urandom(600), AT).result()
            except LedgerError as error:
                os.write(1, f"failed {key} {error.what}\n".encode())
                continue
            os.write(1, f"{key} {ref.chain} {ref.seq} {ref.hash}\n".encode())
            number += 1

    for place in range(threads):
        threading.Thread(target=work, args=(place,)).start()


if __name__ == "__main__":
    main()
