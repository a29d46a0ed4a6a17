"Regenerate every report on the embedded, simulated default."
import sys
import time

from hrft.cli import main

REPORTS = [["report", name, "--title", f"{name}-simulated"] for name in ("heart", "ablations", "runs", "diagnosis")]

if __name__ == "__main__":
    for words in REPORTS:
        start = time.perf_counter()
        code = main(words)
        print(f"{' '.join(words)}: {time.perf_counter() - start:.0f} s", flush=True)
        if code: sys.exit(code)
