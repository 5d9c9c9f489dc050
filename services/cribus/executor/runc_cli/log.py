"""What the command line tells whoever called it: lines of runc's form in the file that --log names."""

import json
import os
import time


def tell(general: dict[str, str], level: str, text: str) -> None:
    """Write one line. `general` are the options before the command; without --log nothing is written."""
    if not general.get("log"):
        return
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if general.get("log-format") == "json":
        entry = json.dumps({"level": level, "msg": text, "time": at})
    else:
        entry = f'time="{at}" level={level} msg={json.dumps(text)}'
    fd = os.open(general["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.write(fd, f"{entry}\n".encode())
    os.close(fd)


def warn(general: dict[str, str], texts: list[str]) -> None:
    """Each as a warning; without --log on standard error, as runc does."""
    for text in texts:
        tell(general, "warning", text)
        if not general.get("log"):
            os.write(2, f"warning: {text}\n".encode())
