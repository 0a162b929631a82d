"""`python -m pcinv_cli` and `torchrun -m pcinv_cli`: the same console as `pcinv`."""

import sys

from pcinv_cli.main import main

sys.exit(main())
