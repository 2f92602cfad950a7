"""`use.py on|off`: puts the newer SQLite into every process of this interpreter's environment, or takes it out again.

A line in site-packages and not PYTHONPATH: the tests start rdev with a user's environment, in which no such variable stands.
"""

import sys
import sysconfig
from pathlib import Path

LINE = Path(sysconfig.get_path("purelib")) / "rdev_newer_sqlite.pth"

if sys.argv[1:] == ["on"]:
    LINE.write_text(f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent)!r})\n")
elif sys.argv[1:] == ["off"]:
    LINE.unlink(missing_ok=True)
else:
    sys.exit("use.py on|off")
