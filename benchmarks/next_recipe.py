"""Whether the recipe that hrft proposes after a bad run beats it: simulated runners, the same items, a paired test.

    python benchmarks/next_recipe.py [--workouts 300] [--runner 0] [--runs DIR] [--seeds 0 1 2]

The bad recipe trains one runner's model from scratch and has three faults: a warm-up of 20,000 steps, which never gets
far (what stepping it once an epoch does), ten times the rate when the second stage resumes from the first, and no early
stop. Exits with 1 if the proposal of the first seed is not better.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from hrft.evidence import markdown_table
from hrft.heart.files.ingest import ingest
from hrft.heart.simulate.archives import write_apple_export
from hrft.heart.study import STUDY, HeartRecipe
from hrft.logs.claims import main_score
from hrft.logs.diagnose import diagnose, findings_table
from hrft.logs.proposal import propose
from hrft.recipe import read_recipe
from hrft.train import fit

BAD = '''study = "heart"
name = "bad"
person = "watch"

[data]
# no history: the network has to learn by itself
features = ["speed_m_s", "power_w_kg", "power_100s_w_kg", "power_600s_w_kg", "work_kj_kg", "elapsed_s", "warm_up"]
workouts_per_person = 0

[model]
start = "mean"

[[stages]]
name = "pretrain"
epochs = 12
lr = 2e-2
batch_size = 8
warmup_steps = 20000
clip_norm = 10.0

[[stages]]
name = "resumed"
epochs = 15
lr = 2e-1
batch_size = 8
clip_norm = 0.0
patience = 0
'''


def kept(run):
    "Test predictions of the kept stage"
    table = run.predictions
    return table[(table.split == 'test') & (table.model == run.metrics['kept_stage'])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--workouts', type=int, default=300, help='simulated workouts of the one runner')
    parser.add_argument('--runner', type=int, default=0, help='seed of the simulated runner')
    parser.add_argument('--runs', default=None, help='folder of run folders')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    given = parser.parse_args()
    folder, verdicts = Path(tempfile.mkdtemp()), []
    ingest(
        [write_apple_export(folder / 'export.zip', given.workouts, given.runner)],
        folder / 'store',
        person='watch',
        progress=False,
    )
    store = folder / 'store'
    (folder / 'bad.toml').write_text(BAD)
    for seed in given.seeds:
        bad = fit(
            STUDY, read_recipe(folder / 'bad.toml', HeartRecipe, (f'seed={seed}',)), store, given.runs, show=False
        )
        findings = diagnose(bad)
        proposal = propose(bad, findings)
        if seed == given.seeds[0]:
            print(
                markdown_table(findings_table(findings)[['severity', 'finding', 'claim']]),
                markdown_table(proposal.diff),
                markdown_table(proposal.criteria),
                sep='\n\n',
                end='\n\n',
            )
        after = fit(
            STUDY,
            read_recipe(proposal.save(folder / 'next.toml'), HeartRecipe, (f'seed={seed}',)),
            store,
            given.runs,
            show=False,
        )
        result = STUDY.compare(kept(after), kept(bad))
        verdicts.append(result['verdict'])
        print(
            f"seed {seed}: bad {main_score(bad.metrics['test'])[1]} bpm, "
            f"next {main_score(after.metrics['test'])[1]} bpm; next - bad {result['difference']:+.2f} "
            f"({result['ci95'][0]:+.2f} to {result['ci95'][1]:+.2f}), p = {result['p']:.4f}, "
            f"{result['n']} runs: {result['verdict']}",
            flush=True,
        )
    return 0 if verdicts[0] == 'better' else 1


if __name__ == '__main__':
    sys.exit(main())
