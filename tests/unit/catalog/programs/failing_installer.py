"""An installer that fails."""

import sys

print("no route to any index")
sys.exit(23)
