"""`sqlite3` as pysqlite3 has it, with a SQLite newer than the interpreter's; found first where ../use.py puts it on the path."""

import sys

from pysqlite3 import dbapi2
from pysqlite3.dbapi2 import *  # noqa: F403

sys.modules[f"{__name__}.dbapi2"] = dbapi2
