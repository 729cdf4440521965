"""The numbers of README.md and RESULTS.md: written from the results files, so that they cannot say anything else."""

import re
import subprocess
import sys
import tomllib

from esc50 import experiments
from esc50.classifier.model_io import DEFAULT_MODEL, MODEL_REGISTRY
from esc50.config import PACKAGED_MODELS, PROJECT_DIR, RESULTS_DIR, ResultsError, atomic_write
from esc50.experiments import nested_cv, openset, protocol_audit, retrieval, trust_report
from esc50.experiments.ablation import ablation
from esc50.experiments.ood_detectors import DETECTORS
from esc50.experiments.results import load_cross_validation, read_csv, read_json, summarise
from esc50.experiments.robustness import load_robustness
from esc50.experiments.shipping import RECIPES
from esc50.experiments.wild import load_wild
from esc50.library.vectors import WindowSettings
from esc50.reporting import literature
from esc50.reporting.tables import percent
from esc50.yamnet.runtime import YAMNET_FILE

START, END = "<!-- {name}: written by `esc50 readme` -->", "<!-- end of {name} -->"
FIGURES = "one network | seeds averaged: accuracy (95 %) | top-3 | macro-F1, pooled"
CLAIMS = {
    "robust": "the shipped model, made for real-world recordings too",
    "distilled": "the same head without level normalisation, degraded copies or YAMNet's scores",
    "distilled_speeds": "the same, tested at three speeds",
    "head_frames": "the plain head (`--model plain`)",
}
BENCH_ROWS = (  # what, measurement, key, format
    ("cold `esc50 predict clip.flac`: CPU seconds", "cold_start", "cpu_seconds", "{:.2f}"),
    ("the same: peak memory, MB", "cold_start", "mb", "{:.0f}"),
    ("one answer to 5 s in a warm process, ms", "answer", "ms", "{:.1f}"),
    ("many clips embedded, ms a clip", "embedding", "batch_ms", "{:.1f}"),
    ("the same beside the plain loop over the hub module: times as fast", "embedding", "ratio", "{:.2f}"),
    ("an hour of 44.1 kHz stereo as a timeline: times real time", "hour", "times_real_time", "{:.0f}"),
    ("the same: peak memory, MB", "hour", "mb", "{:.0f}"),
    ("the app, 20 clients at once: median seconds to an answer", "app", "p50", "{:.2f}"),
    ("the app after start: memory, MB", "app", "mb_after_start", "{:.0f}"),
    ("the environment that answers, MB on disk (0.1.0 had one for everything)", "environment", "mb", "{:.0f}"),
)
AUDITED = {
    "head_clip_mean": "dense head on clip means",
    "head_clip_mean_max": "dense head on means and maxima",
    "cnn_vgg": "VGG-like CNN",
    "cnn_separable": "separable CNN",
}
CHOSEN = "a network chosen for each fold without that fold"
EXAMPLE = ["predict", "--top", "3", "example:rain"]
SNIPPET = """\
from esc50 import SoundClassifier

prediction = SoundClassifier.load().predict("example:rain")
print(prediction.verdict)
print({name: round(share, 2) for name, share in prediction.top(3)})
"""
TRIED = "notebooks/06_predict.ipynb"  # what Binder opens
COLAB = "binder/try_it.ipynb"  # what Colab opens: it installs the package
CI = "actions/workflows/checks.yml"


def promise(*, folder=RESULTS_DIR):
    """What the shipped model is good for, in three sentences."""
    shipped = _one_network(RECIPES[DEFAULT_MODEL].experiment, folder)["accuracy"].mean()
    wild, bench = load_wild(folder=folder)[0], read_json(folder / "benchmark.json")
    n_cores, milliseconds = bench["machine"]["cores"], bench["answer"]["now"]["ms"]
    accepted, rejected = (wild["metrics"][key]["value"] for key in ("none_accepted", "right_refused"))
    right = wild["metrics"]["accuracy"]
    size = sum(len((PACKAGED_MODELS / name).read_bytes()) for name in (YAMNET_FILE, MODEL_REGISTRY[DEFAULT_MODEL]))
    return (
        f"It names **{percent(shipped)} %** of ESC-50's clips correctly, each by a network trained without its "
        f"recording; human listeners reached {literature.HUMANS.accuracy} %.\n"
        f"On {wild['n_known']} real-world recordings its first answer is right for "
        f"**{percent(right['value'])} %** (95 % interval {percent(right['low'], right['high'], digits=0)}). Of "
        f"{wild['n_none']} sounds that belong to no class, it rejects {percent(1 - accepted, digits=0)} %; it also "
        f"rejects {percent(rejected, digits=0)} % of its right answers.\n"
        f"The model is {size / 1e6:.0f} MB and needs no TensorFlow. On {n_cores} cores, one answer to 5 s of sound "
        f"takes {milliseconds:.0f} ms."
    )


def buttons(*, folder=RESULTS_DIR):
    """Badges and links to try it, from the one address in pyproject.toml."""
    project = _project()
    urls, classifiers = project["urls"], " ".join(project["classifiers"])
    repository, versions = urls["Repository"], sorted(re.findall(r"Python :: 3\.(\d+)", classifiers), key=int)
    name = "/".join(repository.split("/")[-2:])  # owner/name
    shields = {
        f"licence-{project['license'].replace(' AND ', '%20and%20').replace('-', '--')}-blue": "LICENSE",
        f"python-3.{versions[0]}%20to%203.{versions[-1]}-blue": "pyproject.toml",
    }
    links = {
        "Try it in the browser": urls["Page"],
        "Space": urls["Space"],
        "Open in Colab": f"https://colab.research.google.com/github/{name}/blob/main/{COLAB}",
        "Open in Binder": f"https://mybinder.org/v2/gh/{name}/main?urlpath=lab/tree/{TRIED}",
        "Documentation": urls["Documentation"],
    }
    badges = [f"[![{_alt(shield)}](https://img.shields.io/badge/{shield})]({to})" for shield, to in shields.items()]
    badges.append(f"[![tests]({repository}/{CI}/badge.svg)]({repository}/{CI})")
    return " ".join(badges) + "\n\n" + " · ".join(f"[{title}]({url})" for title, url in links.items())


def example(*, folder=RESULTS_DIR):
    """The README's first command and its lines of Python, with what they print."""
    console = f"$ esc50 {' '.join(EXAMPLE)}\n{_run('-m', 'esc50', *EXAMPLE)}"
    comments = "\n".join(f"# {line}" for line in _run("-c", SNIPPET).splitlines())
    return f"```console\n{console}\n```\n\nIn Python:\n\n```python\n{SNIPPET}{comments}\n```"


def short_table(*, folder=RESULTS_DIR):
    """Seven lines that place the shipped model."""
    hear = "published: frozen YAMNet and an MLP (HEAR; three training folds)"
    rows = [
        f"human listeners (Piczak 2015) | {literature.HUMANS.accuracy} % | – | –",
        f"{hear} | {literature.YAMNET_MLP.accuracy} % | – | –",
        _claim_row("VGG-like CNN, trained from scratch", _one_network("cnn_vgg", folder)),
        _claim_row("the plain head on YAMNet's embedding", _one_network(RECIPES["plain"].experiment, folder)),
        _claim_row("**the shipped model**", _one_network(RECIPES[DEFAULT_MODEL].experiment, folder)),
        _claim_row(CHOSEN, _chosen_runs(folder)),
        _real_world_row(load_wild(folder=folder)[0]),
    ]
    return _join_rows("model | accuracy | top-3 | macro-F1", rows)


def results_table(*, folder=RESULTS_DIR):
    """Every model of the study that has a title, the best one last."""
    titles = {name: model.title for name, model in experiments.models().items() if model.title}
    summary = summarise(titles, folder=folder).sort_values("accuracy", kind="stable")
    return _join_rows(f"model | {FIGURES}", [_figures_row(titles[model], row) for model, row in summary.iterrows()])


def ablation_table(*, folder=RESULTS_DIR):
    """What each idea adds to the last layer: the same figures, and the gain over the row that the idea changes."""
    table = ablation(folder=folder)
    numbers = {model: number for number, model in enumerate(table.index, start=1)}
    rows = [_idea_row(numbers, row) for _, row in table.iterrows()]
    return _join_rows(f"idea | {FIGURES} | gain in points (95 %), over", rows)


def summary_table(*, folder=RESULTS_DIR):
    """What the project claims, for one network: mean ± standard deviation over seeds of the five folds' means."""
    of_each = {title: _one_network(model, folder) for model, title in CLAIMS.items()} | {CHOSEN: _chosen_runs(folder)}
    rows = [_claim_row(title, runs) for title, runs in of_each.items()]
    return _join_rows("one network, frozen YAMNet | accuracy | top-3 | macro-F1, mean over folds", rows)


def shortcuts_table(*, folder=RESULTS_DIR):
    """What shortcuts in the protocol are worth, in points over fixed epochs on the official folds."""
    worth = protocol_audit.worth(protocol_audit.load(folder=folder))
    shown = worth[worth["protocol"] != protocol_audit.FIXED]
    rows = []
    for protocol in protocol_audit.SHORTCUTS:
        gains = {row.model: _gain(row) for row in shown[shown["protocol"] == protocol].itertuples()}
        if gains:
            rows.append(f"{protocol} | {' | '.join(gains.get(model, '') for model in AUDITED)}")
    return _join_rows(f"protocol | {' | '.join(AUDITED.values())}", rows)


def _gain(row):
    return f"{percent(row.gain, sign=True)} ({percent(row.low, row.high, sign=True)})"


def measures_table(*, folder=RESULTS_DIR):
    """What was measured beside accuracy: what, how much, and by which command."""
    trust = trust_report.load_trust(model=DEFAULT_MODEL, folder=folder)
    rule, summary = trust.report["rejection"], trust.summary
    summary = summary[summary["score"] == rule["score"]].set_index("unknown")
    rejected = {
        "clips of classes held out of training": trust_report.HELD_OUT,
        "tones, noise, speech …": trust_report.OOD,
    }
    rows = [_rejection_row(title, summary.loc[unknown], rule) for title, unknown in rejected.items()]
    rows += [_timelines_row(read_json(folder / "timeline.json")), *_wild_rows(load_wild(folder=folder))]
    rows += [_faults_row(load_robustness(folder=folder))]
    return _join_rows(" | measured | command", rows)


def openset_table(*, folder=RESULTS_DIR):
    """How well each detector tells held-out classes in the open-set benchmark, the best one first."""
    table = openset.format_summary(openset.load_summary(folder=folder))
    rows = [
        f"{DETECTORS[name].title} | {DETECTORS[name].source} | {' | '.join(row)}"
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return _join_rows(f"detector | from | {' | '.join(table.columns)}", rows)


def bench_table(*, folder=RESULTS_DIR):
    """The package beside version 0.1.0: the figures of `make bench`."""
    found, rows = read_json(folder / "benchmark.json"), []
    for what, measurement, key, form in BENCH_ROWS:
        old, new = (found[measurement][version][key] for version in ("0.1.0", "now"))
        rows.append(f"{what} | {form.format(old)} | {form.format(new)} | {max(old, new) / min(old, new):.1f}")
    machine = found["machine"]
    head = f"{machine['cores']} cores, {machine['cpu']} | 0.1.0 | this version | ratio"
    return _join_rows(head, rows)


def formats_table(*, folder=RESULTS_DIR):
    """What each format of the weights costs."""
    rows = [
        f"{row.weights} | {percent(row.accuracy, digits=2)} % | {percent(row.same_class, digits=2)} % | "
        f"{row.largest_difference:.1g} | {row.mb:.1f} | {row.ms:.1f} | {row.memory_mb:.0f}"
        for row in read_csv(folder / "formats.csv").itertuples()
    ]
    head = "weights | accuracy | same class as float32 | largest difference of a probability"
    return _join_rows(f"{head} | MB, YAMNet and head | YAMNet, median ms for 5 s | MB of memory", rows)


def retrieval_table(*, folder=RESULTS_DIR):
    """How well vectors find sounds, on the classes on which nothing was chosen."""
    table = read_csv(folder / "retrieval.csv")
    in_store, others = retrieval.windows_name(WindowSettings()), table["others"].iloc[0]
    rows = [
        f"{_vectors_title(row.vectors, in_store)} | {_with_interval(row, 'precision_at_10')} | "
        f"{_with_interval(row, 'average_precision')}"
        for row in table[table["used_for"] == "report"].itertuples()
    ]
    searched = f"Searched: all clips of ESC-50{f' and {others:,} recordings from elsewhere' if others else ''}.\n\n"
    return searched + _join_rows("vectors | precision at 10, % (95 %) | mean average precision, % (95 %)", rows)


def _vectors_title(vectors, in_store):
    """What the vectors are of, in bold where a store holds them."""
    title = vectors if "windows of" in vectors else f"whole clips: {vectors}"
    return f"**{title}**" if vectors == in_store else title


def stores_table(*, folder=RESULTS_DIR):
    """What stores cost and give, and how long the one in use takes to open."""
    table, hop_hours = read_csv(folder / "stores.csv"), WindowSettings().hop_seconds / 3_600
    rows = [
        f"{row.store} | {row.vectors:,.0f} | {row.build_cpu_seconds:.0f} | {row.open_seconds:.1f} | "
        f"{row.p50_ms:.1f} ({row.cpu_ms:.1f}) | {row.p99_ms:.0f} | {row.load:.0f} | {row.recall_at_10:.3f} | "
        f"{row.disk_mb:.0f}"
        for row in table.itertuples()
    ]
    used = table[table["store"] == table["store"].iloc[0]].nlargest(1, "vectors").iloc[0]
    opening = (
        f"At opening, all vectors are read: {used['open_seconds']:.0f} s for {used['vectors']:,.0f} of them, "
        f"{used['vectors'] * hop_hours:.0f} hours of sound, on this busy machine."
    )
    head = "store | vectors | build, CPU s | open, s | median, ms (CPU) | 99th percentile, ms | load of the machine"
    return f"{_join_rows(f'{head} | recall at 10 | disk, MB', rows)}\n\n{opening}"


def indexing_table(*, folder=RESULTS_DIR):
    """What indexing costs, and a million hours by the last line."""
    table = read_csv(folder / "indexing.csv")
    rows = [
        f"{row.what} | {row.start_seconds:.1f} ({row.start_cpu_seconds:.1f}) | "
        f"{row.seconds_per_hour:.0f} ({row.cpu_seconds_per_hour:.0f}) | {row.mb:.0f} | "
        f"{f'{row.store_mb_per_hour:.1f}' if row.store_mb_per_hour else ''} | {row.load:.0f}"
        for row in table.itertuples()
    ]
    last = table.iloc[-1]
    days, terabytes = 1e6 * last["cpu_seconds_per_hour"] / 86_400 / 1_000, last["store_mb_per_hour"]
    head = "what | to start, s (CPU) | an hour of sound, s (CPU) | peak of a process, MB"
    on_paper = f"A million hours, by the last line: {days:.1f} days on 1,000 cores, and a store of {terabytes:.1f} TB."
    return f"{_join_rows(f'{head} | store, MB an hour | load of the machine', rows)}\n\n{on_paper}"


def update_readme(name="README.md", *, root=PROJECT_DIR, folder=RESULTS_DIR):
    """Write what belongs between a document's markers; whether anything changed."""
    path = root / name
    text = path.read_text(encoding="utf-8")
    for marker, write in DOCUMENTS[name].items():
        text = replace_table(text, marker, write(folder=folder))
    return write_if_changed(path, text)


def update_colab(*, path=PROJECT_DIR / COLAB):
    """Write the project's address into the notebook for Colab; whether anything changed."""
    address = f"git+{_project()['urls']['Repository']}"
    return write_if_changed(path, re.sub(r"git\+[^'\s]+", address, path.read_text(encoding="utf-8")))


def write_if_changed(path, text):
    """Write a text file unless it says the same already; whether it was written."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")
    return True


def replace_table(text, name, table):
    """Replace whatever stands between a table's markers."""
    first, last = START.format(name=name), END.format(name=name)
    before, start, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (start and end):
        raise ResultsError(f"the markers {first} and {last} are missing: put them where the table belongs")
    return f"{before}{first}\n{table}\n{last}{after}"


def _run(*arguments):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, encoding="utf-8", check=True)
    return done.stdout.rstrip()


def _project():
    return tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _alt(shield):
    return shield.rsplit("-", 1)[0].replace("--", "_").replace("-", " ").replace("_", "-").replace("%20", " ")


def _with_interval(row, name):
    value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
    return f"{percent(value)} ({percent(low, high)})"


def _one_network(model, folder):
    runs = load_cross_validation(folder=folder)
    return runs[runs["model"] == model]


def _chosen_runs(folder):
    return nested_cv.runs_of_chosen(nested_cv.network_choices(folder=folder), folder=folder)


def _claim_row(title, runs):
    """Mean over folds, and over seeds with its standard deviation where there are several."""
    means = runs.groupby("seed")[["accuracy", "top3_accuracy", "macro_f1"]].mean()
    mean, sd = means.mean(), means.std()
    spread = "{} ± {} %", "{:.3f} ± {:.3f}"
    share, score = spread if len(means) > 1 else ("{} %", "{:.3f}")
    figures = [share.format(percent(mean[key]), percent(sd[key])) for key in ("accuracy", "top3_accuracy")]
    return f"{title} | {' | '.join(figures)} | {score.format(mean['macro_f1'], sd['macro_f1'])}"


def _real_world_row(report):
    right, top = (report["metrics"][key]["value"] for key in ("accuracy", "top3_accuracy"))
    known = f"{report['n_known']} real-world recordings of {report['n_classes']} classes"
    return f"**outside ESC-50:** the shipped model on {known} | {percent(right)} % | {percent(top)} % | –"


def _join_rows(head, rows):
    rule = " | ".join(["---"] * (head.count("|") + 1))
    return "\n".join(f"| {row} |" for row in (head, rule, *rows))


def _figures_row(title, row):
    spread = f" ± {percent(row['run_accuracy_sd'])}" if row["n_seeds"] > 1 else ""
    accuracy = f"{percent(row['accuracy'])} % ({percent(row['accuracy_low'], row['accuracy_high'])})"
    averaged = f"{accuracy} | {percent(row['top3_accuracy'])} % | {row['macro_f1']:.3f}"
    return f"{title} | {percent(row['run_accuracy'])}{spread} % | {averaged}"


def _idea_row(numbers, row):
    gain = "–"
    if row["over"]:
        interval = percent(row["gain_low"], row["gain_high"], sign=True)
        gain = f"{percent(row['gain'], sign=True)} ({interval}), row {numbers[row['over']]}"
    title = f"{numbers[row.name]}. {row['title']}"
    return f"{_figures_row(title, row)} | {gain}"


def _rejection_row(title, row, rule):
    kept, passed = (percent(share, digits=0) for share in (rule["kept"], row["fpr_at_95_tpr"]))
    fpr = f"FPR at {kept} % TPR: {passed} %; AUROC {row['auroc']:.2f}"
    return f'"None of these" against {title} | {fpr} | `esc50 trust`'


def _timelines_row(found):
    n_recordings, hours = (sum(found[name].values()) for name in ("n_recordings", "hours"))
    what = f"Timelines of {n_recordings} soundscapes ({hours:.1f} hours) made of held-out clips"
    one, two = (found["pooled"][kind] for kind in ("one_at_a_time", "overlapping"))
    f1 = f"segment-based F1 (1 s segments) {one['f1']:.2f} with one sound at a time, {two['f1']:.2f} with two"
    psds = [f"{one[f'psds{n}']:.2f} and {two[f'psds{n}']:.2f} (scenario {n})" for n in (1, 2)]
    return f"{what} | {f1}; polyphonic sound detection score (PSDS) {', '.join(psds)} | `esc50 timelines`"


def _wild_rows(reports):
    report, command = reports[0], "`esc50 evaluate` (notebook 08)"
    figures = {key: _estimate(report, key) for key in ("accuracy", "macro_recall", "none_accepted", "right_refused")}
    right, faint = (percent(reports[gain]["metrics"]["accuracy"]["value"]) for gain in (0, min(reports)))
    faint = f"{'the same' if faint == right else f'{faint} %'} at {min(reports)} dB"
    known = f"{figures['accuracy']} right, {faint}; mean over classes {figures['macro_recall']}"
    yield f"Real-world recordings (95 %), {report['n_known']} of {report['n_classes']} classes | {known} | {command}"
    none = f"{figures['none_accepted']} accepted; {figures['right_refused']} of right answers rejected"
    yield f"Real-world recordings of none of the classes, {report['n_none']} | {none} | {command}"


def _estimate(report, name):
    value, low, high = (report["metrics"][name][key] for key in ("value", "low", "high"))
    return f"{percent(value)} % ({percent(low, high, digits=0)})"


def _faults_row(table):
    accuracy = table.set_index(["kind", "amount"])["accuracy"].map(percent)
    shown = {"at 10 dB SNR": ("white noise", 10), "of 1 s": ("reverberation", 1.0), "": ("telephone band", 1)}
    told = [f"{kind} {what}".strip() + f" {accuracy[kind, amount]} %" for what, (kind, amount) in shown.items()]
    what = f"Degraded clips (half of each held-out fold), {accuracy['level', 0]} % undegraded"
    return f"{what} | {', '.join(told)} | `esc50 robustness`"


DOCUMENTS = {  # file -> marker -> what stands there
    "README.md": {"promise": promise, "buttons": buttons, "example": example, "short": short_table},
    "RESULTS.md": {
        "summary": summary_table,
        "results": results_table,
        "ablation": ablation_table,
        "shortcuts": shortcuts_table,
        "measures": measures_table,
        "openset": openset_table,
        "formats": formats_table,
        "bench": bench_table,
    },
    "docs/index_and_find.md": {"indexing": indexing_table, "retrieval": retrieval_table, "stores": stores_table},
}
