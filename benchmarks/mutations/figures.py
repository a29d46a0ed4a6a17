"""What diagnosed cases come to: figures by part, form, fault, task and code, and the page that shows them"""

import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from hrft.core import read_json
from hrft.evidence import markdown_table, wilson

from .cases import FORMS, TWINS, Case, cases
from .faults import FAULTS
from .tasks import TASKS

FIRST = 3  # findings among which the cause must be named
NOTES = {'best-inside-noise', 'wasted-epochs', 'plateau', 'no-early-stop', 'stage-no-gain', 'slow-start'}  # no alarms


def results(wanted: Iterable[Case], out: Path) -> pd.DataFrame:
    "One row a case and form that was diagnosed"
    rows, about = [], {c: out / c.folder / 'case.json' for c in wanted}
    about = {case: read_json(path) for case, path in about.items() if path.exists()}
    for case, known in about.items():
        fault, path = FAULTS.get(case.fault), out / case.folder / 'found.json'
        if not path.exists():
            continue
        twin = [*TWINS][bool(fault and fault.resumed)] if fault else case.fault
        twins = [a['score'] for c, a in about.items() if c.task == case.task and c.fault == twin]
        common = asdict(case) | {'part': case.part, 'effect': _effect(known, twins, fault)}
        common |= {key: known[key] for key in ('refused', 'ended', 'seconds')}
        found = read_json(path)
        rows += [common | {'form': form} | _judged(found.get(form, []), fault) for form in FORMS]
    return pd.DataFrame(rows)


def _effect(about, twins, fault):
    "Whether a fault did harm: its score is outside the 95 % prediction interval of its twins, or harm has no score"
    twins = np.array([t for t in twins if t is not None], float)
    if not fault or fault.harmful or about['score'] is None or len(twins) < 3:
        return True
    half = stats.t.ppf(0.975, len(twins) - 1) * twins.std(ddof=1) * math.sqrt(1 + 1 / len(twins))
    return bool(abs(about['score'] - twins.mean()) > half)


def _judged(said, fault):
    "What the findings of one form are worth"
    right = fault.right if fault else set()
    true = right | set(fault.also) if fault else set()
    alarms = [code for severity, code, _ in said if severity != 'note']
    counted = [code for severity, code, _ in said if severity != 'note' or code in right]
    return {
        'detected': bool(counted),
        'named': any(code in right for _, code, _ in said[:FIRST]),
        'said': len(counted),
        'true': sum(code in true for code in counted),
        'alarms': len(alarms),
        'codes': [code for _, code, _ in said],
        'first': ', '.join(code for _, code, _ in said[:FIRST]) or 'nothing',
    }


def _share(hits, n=None):
    "A share with its interval; a dash of nothing"
    hits, n = (hits.sum(), len(hits)) if n is None else (hits, n)
    return '{:.2f} ({:.2f} to {:.2f})'.format(*wilson(int(hits), int(n))) if n else '-'


def _bitten(table: pd.DataFrame) -> pd.DataFrame:
    "Cases whose fault did harm, and that left something to diagnose"
    return table[~table.fault.isin(TWINS) & table.effect & ~table.refused]


def figures(table: pd.DataFrame) -> pd.DataFrame:  # one row a form
    "How often a part was diagnosed right"
    rows = []
    for form, own in table.groupby('form', sort=False):
        clean, bad = own[own.fault.isin(TWINS)], _bitten(own)
        shown = bad[~bad.fault.map(lambda name: FAULTS[name].traceless)]
        rows.append(
            {'diagnosed': FORMS[form], 'cases': len(bad), 'detected': _share(bad.detected)}
            | {
                'cause among the first three': _share(bad.named),
                'the same where a log has a trace': _share(shown.named),
            }
            | {'precision': _share(bad.true.sum(), bad.said.sum()), 'healthy': len(clean)}
            | {'false alarms per healthy run': f'{clean.alarms.mean():.2f}' if len(clean) else '-'}
            | {'healthy runs with one': _share(clean.alarms > 0)}
        )
    return pd.DataFrame(rows)


def goals(table: pd.DataFrame) -> pd.DataFrame:  # one row a goal: what, goal, reached, met
    "What was set out to reach, and what was"
    bad, clean = _bitten(table), table[table.fault.isin(TWINS)]
    traced = bad[~bad.fault.map(lambda name: FAULTS[name].traceless)]
    wanted = [
        ('detected, run folder', bad[bad.form == 'run'].detected, 0.9),
        ('cause named, run folder', bad[bad.form == 'run'].named, 0.75),
        ('cause named, log by epoch', bad[bad.form == 'log'].named, 0.6),
        ('cause named, log by epoch, faults with a trace there', traced[traced.form == 'log'].named, 0.6),
    ]
    rows = [(what, f'{least:.2f} or more', _share(hits), hits.mean() >= least) for what, hits, least in wanted]
    for form, name in (('run', 'run folder'), ('log', 'log by epoch')):
        alarms = clean[clean.form == form].alarms.mean()
        rows.append((f'false alarms per healthy run, {name}', '0.10 or fewer', f'{alarms:.2f}', alarms <= 0.1))
    return pd.DataFrame(rows, columns=['figure', 'goal', 'reached', 'met'])


def by_fault(table: pd.DataFrame) -> pd.DataFrame:  # one row a fault
    "Of how many cases each fault was found, and named"
    rows = []
    for fault, own in table[~table.fault.isin(TWINS)].groupby('fault', sort=False):
        run = own[own.form == 'run']
        row = {
            'fault': fault,
            'cases': len(run),
            'no effect': int((~run.effect).sum()),
            'refused': int(run.refused.sum()),
        }
        for form in FORMS:
            part = _bitten(own[own.form == form])
            row |= {
                f'{form}: found': f'{part.detected.sum()}/{len(part)}',
                'named' + ' ' * len(row): f'{part.named.sum()}/{len(part)}',
            }
        rows.append(row | {'mostly said of the run': run['first'].mode()[0]})
    return pd.DataFrame(rows)


HEAD = """This page is made by `benchmarks/diagnosis.py`; change the script, not the page.

# How often `hrft diagnose` is right

Nobody can say how far to trust a finding who has not seen it on trainings whose fault is known. Here {n_faults}
faults were put one at a time into healthy trainings of {n_tasks} small tasks, with up to {n_seeds} seeds each, and
what `hrft diagnose` said was held against what was done: {n_cases:,} spoilt trainings and {n_clean} healthy
ones, all trained by `hrft.train.fit`.

## What is counted

- **Case**: one fault, task and seed. A fault that did not bite is no case, as in DeepCrime: its test score has
  to lie outside the 95 % prediction interval of healthy twins (10 seeds, 5 where the training goes on from
  another run), unless the training broke off, or says of itself what is not so, such as a score on items that
  it was trained on. {no_effect}
- **Detected**: at least one error or warning, or the right code. **Cause**: a right code is among the first
  three findings. Right codes were written down with the fault, in `benchmarks/mutations/faults.py`, before it was
  diagnosed; codes that did not exist then were added by what they mean.
- **Precision**: the share of errors, warnings and right notes that name the cause or are true of that training
  besides.
- **False alarm**: an error or warning on a healthy training. A healthy run was trained by a recipe that suits
  its task.
- What is diagnosed: `run`, a folder of hrft with its recipe, scores, predictions, weights and checks;
  `epochs.csv` and `steps.csv`, no more than losses, one metric and the rate, as any tool logs them.
  {n_traceless} faults leave nothing there: their figures stand apart.
- Intervals are Wilson's, 95 %. Seeds of one fault and task resemble each other, so the true intervals are
  wider.

Faults and tasks were each split in two before anything was diagnosed, every second one in the order of their
kinds and of the hashes of their names. Thresholds were tuned on one half of the faults in one half of the tasks
({tuned_tasks}). The **held-out half** has the other faults in the other tasks ({held_tasks}); it was scored
once, at the end. **Crossed** cases have a known fault in an unknown task, or the reverse. They
were scored once as well, but some of these faults had been tried on a tuned task before the split was settled; of
the held-out half, nothing but the healthy twins was seen.
"""

CODES = """Run folders and logs by epoch of all parts: in how many cases a code was said, named the cause, was true
of the training, and was said of a healthy one. What `hrft diagnose` shows beside a finding is `true` of `said`,
counted in the half that was tuned on.
"""

OTHERS = """## Beside published figures

These are other faults in other programs, so none of it is a race. DeepFD names the fault of 52 % of 58 real
programs, and in a later study had a recall of 0.55 at a precision of 0.37; DEFault detects 94 % and names the
root cause of 63 % of 52 real programs; AUTOTRAINER looks for five kinds of training problems while it trains.
They were judged on programs that people had asked for help with. The faults here were made on purpose, one at
a time, in small tasks and in hrft's own trainings; real ones come in pairs, and in models of a thousand times the
size. What can be compared is what they need: those tools retrain the program or sit in it, and `hrft diagnose`
reads a log that is there already.
"""


def _note(count, word):
    return f'{count} {word}{"" if count == 1 else "s"}'


def missed(table: pd.DataFrame, form: str) -> str:
    "A line for each fault whose cause is named in less than half of one form"
    lines = []
    for fault, own in _bitten(table[table.form == form]).groupby('fault', sort=False):
        if own.named.mean() < 0.5:
            said = own['first'].value_counts().index[0]
            lines.append(
                f'- `{fault}` ({FAULTS[fault].about}): {own.named.sum()} of {len(own)} named, '
                f'{own.detected.sum()} detected; mostly said: {said}.'
            )
    return '\n'.join(lines) or 'Each fault is named in half of its cases or more.'


def by_task(table: pd.DataFrame, form: str) -> pd.DataFrame:  # index fault, columns tasks: named / detected / cases
    "One form, fault by task"
    own = _bitten(table[table.form == form])
    cell = own.groupby(['fault', 'task'], sort=False).apply(
        lambda part: f'{part.named.sum()} / {part.detected.sum()} / {len(part)}', include_groups=False
    )
    return (
        cell.unstack().reindex(columns=[t for t in TASKS if t in set(own.task)]).fillna('-').rename_axis(columns=None)
    )


def by_code(table: pd.DataFrame) -> pd.DataFrame:  # one row a code that says more than healthy runs hear as well
    "Of the cases where a code was said: how often it named the cause, was true, and was a false alarm"
    known = pd.concat([_bitten(table), table[table.fault.isin(TWINS)]])
    rows = known.explode('codes').dropna(subset='codes').drop_duplicates(['task', 'fault', 'seed', 'form', 'codes'])
    fault = rows.fault.map(lambda name: FAULTS.get(name))
    rows = rows.assign(
        cause=[f is not None and code in f.right for f, code in zip(fault, rows.codes)],
        true=[f is not None and code in f.right | set(f.also) for f, code in zip(fault, rows.codes)],
        healthy=rows.fault.isin(TWINS),
    )
    rows = rows[~rows.codes.isin(NOTES)]
    sums = {'said': ('true', 'size'), 'cause': ('cause', 'sum'), 'true': ('true', 'sum'), 'healthy': ('healthy', 'sum')}
    counted = rows.groupby(['codes', 'form']).agg(**sums)
    return counted.reset_index().rename(columns={'codes': 'code'})


def hit_rates(table: pd.DataFrame) -> dict:  # code -> {'log': [true, said], 'run': [true, said]}
    "How often a finding was true where it was said"
    found = {}
    for code, form, said, _, true, _ in by_code(table[table.form != 'steps']).itertuples(index=False):
        found.setdefault(code, {})[form] = [int(true), int(said)]
    return found


def page(out: Path, seeds: int) -> str:
    "The report in Markdown"
    held, crossed, tune = (results(cases(part, seeds), out) for part in ('held', 'crossed', 'tune'))
    crossed = crossed[~crossed.fault.isin(TWINS)]  # its healthy runs are those of the others
    shown = {'the held-out half': held, 'crossed cases': crossed, 'the half that was tuned on': tune}
    shown = {title: part for title, part in shown.items() if len(part)}
    every = pd.concat(shown.values())
    lines = [_about(every, held, tune, seeds)]
    for title, part in shown.items():
        lines += [f'## {title.capitalize()}\n', markdown_table(figures(part)), '']
        lines += [markdown_table(goals(part)), ''] if part is held else []
    lines += ['## What it misses\n', 'Faults whose cause is named in less than half of the cases.\n']
    for form in ('run', 'log'):
        for title, part in shown.items():
            lines += [f'{FORMS[form]}, {title}:\n', missed(part, form), '']
    lines += [OTHERS]
    for title, part in shown.items():
        for form in ('run', 'log'):
            lines += [f'## Fault by task, {FORMS[form]}, {title}\n', 'Cause named / detected / cases.\n']
            lines += [markdown_table(by_task(part, form)), '']
    lines += ['## Code by code\n', CODES, markdown_table(by_code(every[every.form != 'steps'])), '']
    return '\n'.join([*lines, '## The faults\n', markdown_table(_listed()), ''])


def _about(every, held, tune, seeds):
    "What was counted, of how many cases"
    run = every[every.form == 'run']
    spoilt = run[~run.fault.isin(TWINS)]
    tasks = [', '.join(t for t in TASKS if t in set(part.task)) for part in (tune, held)]
    return HEAD.format(
        n_faults=len(FAULTS),
        n_tasks=len(TASKS),
        n_seeds=seeds,
        n_cases=len(spoilt),
        n_clean=run.fault.isin(TWINS).sum(),
        no_effect=f'{_note((~spoilt.effect).sum(), "training")} had no effect, and {spoilt.refused.sum()} left no log.',
        n_traceless=sum(fault.traceless for fault in FAULTS.values()),
        tuned_tasks=tasks[0],
        held_tasks=tasks[1],
    )


def _listed():
    "Each fault, what would name it, and what had to be lifted for it"
    return pd.DataFrame(
        [
            {'fault': f.name, 'changes': f.kind, 'what is done': f.about, 'right codes': ', '.join(sorted(f.right))}
            | {'in a log': 'no' if f.traceless else 'yes', 'guard that was lifted': f.guard or '-'}
            for f in FAULTS.values()
        ]
    )
