# Runs the notebooks that book/runs.yml lists, and builds the book of them: one rule for each step, from tables to tables.
#
#   snakemake                               the whole book: book/_build/html/index.html
#   snakemake --config n_facts=all          the same with all facts
#   snakemake tables --config model=smollm2-135m dataset=pararel n_facts=60 results_dir=results
#                                           the tables of another model and data set, no book
#   snakemake published --configfile data/published/runs/smollm2-135m_pararel.yml
#                                           the same, and puts them into data/published/results
#
# A notebook reuses tables that were made with the same inputs, and goes on with what was killed. So no table is removed before a job
# ("update") or after one that failed (profiles/default), and a failed job leaves the tables that it finished: it deletes the copies that
# Snakemake would put back. A step is done when its executed notebook is there, which only a run that succeeded writes.
import json
import os
import sys
from pathlib import Path

sys.path[:0] = [workflow.basedir, f"{workflow.basedir}/book"]
from run_list import RunList
from sources import explorer_sources, notebook_sources, table_sources

from kn_utils import steps


configfile: "book/runs.yml"


RUNS = RunList(config)
STEPS = [step for step in steps.STEPS if step.notebook in RUNS.notebooks]
ALONE = [notebook for notebook in RUNS.notebooks if notebook not in {step.notebook for step in STEPS}]  # notebooks without tables

# What a job asks of a cluster. Measured on the bundled model, as the largest resident memory of a kernel on one thread: all facts of P27 took
# 1.8 GB in 01 and 1.0 GB elsewhere, all relations in one kernel 4.8 GB in 01. No notebook took more than a minute for those 45 facts.
MEMORY = {"01_attribution": 6000}  # MB; 3000 for all others
MINUTES = {"01_attribution": 240}  # 60 for all others

RUN = (
    'for table in {output:q}; do rm -f ".snakemake/backups/$table"; done; '
    "KN_TERMINAL=3 LOKY_MAX_CPU_COUNT={threads} {sys.executable:q} book/run_notebook.py {input[0]:q} {output.notebook:q} {params.parameters:q} 3>&2 > {log:q} 2>&1"
)

if workflow.is_main_process and RUNS.notes:
    print(*RUNS.notes, sep="\n", file=sys.stderr)


def tables(step, names):
    """The tables that one run of a step needs or makes; {relation} where it runs once for each."""
    relations = ["{relation}"] if RUNS.each(step.notebook) else RUNS.relations(step.notebook)
    return [f"{RUNS.results}/{name}/{relation}.parquet" for name in names for relation in relations]


def executed(notebook):
    return RUNS.run(notebook, "{relation}" if RUNS.each(notebook) else "").executed


def of_all_relations(step, paths):
    return sorted({path.format(relation=relation) for path in paths for relation in RUNS.relations(step.notebook)})


def sources(step):
    """The code behind one run of a step; a run for one relation is for its tables alone, whatever figures it draws."""
    return table_sources(step) if RUNS.each(step.notebook) else notebook_sources(step.notebook)


def parameters(notebook):
    return lambda wildcards: json.dumps(RUNS.run(notebook, wildcards.get("relation", "")).parameters)


def publication(wildcards):
    """The arguments that tell kn_utils.store.publish which run to publish."""
    drawn = [] if RUNS.n_facts is None else ["--n-facts", RUNS.n_facts]
    return [config["model"], config["dataset"], "--results-dir", config["results_dir"], *drawn, "--seed", config["seed"]]


localrules: book, tables, published, pages, explorer, launch


rule book:
    input:
        "book/_build/html/index.html",


rule tables:
    input:
        [path for step in STEPS for path in of_all_relations(step, [*tables(step, step.tables), executed(step.notebook)])],


rule published:
    input:
        rules.tables.input,
    params:
        run=publication,
    shell:
        "{sys.executable:q} -m kn_utils.store.publish {params.run:q}"


for step in STEPS:
    rule:
        name:
            step.name
        input:
            sources(step),
            tables(step, step.needs),
        output:
            [update(table) for table in tables(step, step.tables)],
            notebook=executed(step.notebook),
        log:
            executed(step.notebook).replace(".ipynb", ".log"),
        params:
            parameters=parameters(step.notebook),
        threads: workflow.cores if step.name == "attribution" and not RUNS.each(step.notebook) else 1
        resources:
            mem_mb=MEMORY.get(step.notebook, 3000),
            runtime=MINUTES.get(step.notebook, 60),
        priority: {"modify_activation": 3, "erase_relation": 2}.get(step.name, 1)  # the longest first, and tables before pages
        shell:
            RUN


# A chapter is a notebook that runs over all relations and finds its tables there: the notebook of a step that ran once for each relation,
# or one that makes no tables (the report, the figures, the queries).
rule chapter:
    input:
        lambda wildcards: notebook_sources(wildcards.chapter),
        rules.tables.input,
    output:
        notebook=f"{RUNS.results}/notebooks/{{chapter}}.ipynb",
    log:
        f"{RUNS.results}/notebooks/{{chapter}}.log",
    params:
        parameters=lambda wildcards: parameters(wildcards.chapter)({}),
    resources:
        mem_mb=lambda wildcards: MEMORY.get(wildcards.chapter, 3000),
        runtime=lambda wildcards: MINUTES.get(wildcards.chapter, 60),
    wildcard_constraints:
        chapter="|".join(ALONE + [step.notebook for step in STEPS if RUNS.each(step.notebook)]) or "(?!)",  # none, where "" would be any
    shell:
        RUN


rule pages:
    input:
        [run.executed for run in RUNS.all_runs()],
        ["book/pages.py", "book/neuron_links.py", "book/run_list.py", "book/runs.yml"],
        sorted(map(str, Path("data/published/results").glob("*/*/knowledge_neurons.parquet"))),  # whose neurons are linked
    output:
        [run.page for run in RUNS.all_runs()],
        "book/_toc.yml",
    params:
        config=json.dumps(config),
    shell:  # Snakemake would start a "run" block by a command in which the folder is not quoted
        "{sys.executable:q} book/pages.py {params.config:q}"


rule explorer:
    input:
        explorer_sources(),
    output:
        directory("book/_extra/explorer/data"),
    shell:
        "{sys.executable:q} -m kn_utils.report.explorer {output:q}"


rule launch:  # the notebooks that the launch buttons open
    input:
        ["book/launch.py", "book/run_list.py", "book/runs.yml", "pyproject.toml"],
        [f"notebooks/{notebook}.ipynb" for notebook in RUNS.notebooks],
    output:
        directory("book/_build/launch"),
    params:
        config=json.dumps(config),
        repository=os.environ.get("REPOSITORY", ""),
    shell:
        "{sys.executable:q} book/launch.py {params.config:q} {params.repository:q} {output:q}"


rule html:
    input:
        rules.pages.output,
        rules.explorer.output,
        [str(path) for folder in ("", "_ext/", "_extra/*/", "_static/", "_templates/autosummary/", "images/") for path in Path("book").glob(f"{folder}*.*")],
        sorted(map(str, Path("kn_utils").rglob("*.py"))),  # the API pages show them
    output:
        "book/_build/html/index.html",
    params:
        repository=os.environ.get("REPOSITORY", ""),  # makes the launch buttons; read by book/_ext/repository.py
    shell:
        "{sys.prefix:q}/bin/jupyter-book build book --all -W -n --keep-going && touch {output:q}"
