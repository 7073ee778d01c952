"""An installer that fails; what it says is its first argument, if that is no option of an installer."""

import sys

print(sys.argv[1] if sys.argv[1] != "download" else "no route to any index")
sys.exit(23)
