"Regenerate every report on the embedded, simulated default."

import os
import sys
import time
from pathlib import Path

from hrft.cli import main

FEWER = {  # what keeps a report on drawn data within minutes of one core
    "lips": {
        "n_folds": 4,
        "changes": ["data.frames=10", "data.height=16", "data.width=24", "stages.0.batch_size=8"],
        "resumed_changes": ["data.frames=8", "data.height=16", "data.width=24"],
        "resumes_epochs": 6,
    }
}
REPORTS = [
    [
        "report",
        name,
        "--title",
        f"{name}-simulated",
        *(word for key, value in FEWER.get(name, {}).items() for word in ("-p", key, str(value))),
    ]
    for name in ("heart", "ablations", "runs", "diagnosis", "faces", "lips", "clouds")
]

if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    for words in REPORTS:
        start = time.perf_counter()
        code = main(words)
        print(f"{' '.join(words)}: {time.perf_counter() - start:.0f} s", flush=True)
        if code:
            sys.exit(code)
