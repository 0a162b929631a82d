"""Read files one after the other under a ceiling on memory; print a JSON line for each.

python child.py MEGABYTES FILE...
"""

import json
import os
import resource
import sys
import time
import warnings


def main() -> None:
    import pcinv.io
    from pcinv.errors import PcinvError

    warnings.simplefilter("ignore")
    for package in (
        "h5py",
        "trimesh",
        "laspy",
        "lazrs",
        "scipy.spatial",
    ):  # not counted as the file's doing
        try:
            __import__(package)
        except ImportError:
            pass
    # as much address space as is in use now, and some more for the file
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    ceiling = used + int(sys.argv[1]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    opened = len(os.listdir("/proc/self/fd"))
    for path in sys.argv[2:]:
        start = time.process_time()
        try:
            pcinv.io.describe(path)
            told = {"error": None}
        except PcinvError as error:
            told = {
                "error": error.code,
                "exit": error.exit_code,
                "where": error.where,
                "hint": error.hint,
                "message": error.message,
            }
        except BaseException as error:  # noqa: BLE001  this is what the tests look for
            told = {"error": "untyped", "message": repr(error)}
        told |= {
            "file": path,
            "seconds": time.process_time() - start,
            "open": len(os.listdir("/proc/self/fd")) - opened,
        }
        print(json.dumps(told), flush=True)


main()
