# Runs the notebooks that book/runs.yml lists, and builds the book of them: one rule per notebook, from tables to tables.
#
#   snakemake                               the whole book: book/_build/html/index.html
#   snakemake --config n_facts=all          the same with all facts
#   snakemake tables --config model=smollm2-135m dataset=pararel n_facts=60 results_dir=results
#                                           the tables of another model and data set, no book
#   snakemake published --configfile data/published/runs/smollm2-135m_pararel.yml
#                                           the same, and puts them into data/published/results
#
# Notebooks reuse tables made with the same inputs and resume what was killed; so no rule removes a table before it runs ("update"), none
# is removed after a failure (profiles/default), and none is replaced by the one before it: a job removes the copies made for that.
# An executed notebook is there only if its run has succeeded; so that, and not its tables, says that a step is done.
import json
import os
import sys
from pathlib import Path
from shlex import join, quote

sys.path[:0] = [workflow.basedir, f"{workflow.basedir}/book"]
from pages import make_pages
from run_list import RunList

from kn_utils.paths import MADE_BY


configfile: "book/runs.yml"


RUNS = RunList(config)
METHOD = sorted(map(str, Path("kn_utils").glob("*.py")))
CLAIMS = sorted(map(str, Path("kn_utils/claims").glob("*.py")))
PUBLISHED = sorted(str(path) for path in Path("data/published").rglob("*") if path.is_file())
STEPS = [notebook for notebook in config["notebooks"] if notebook in MADE_BY]

# What a job asks of a cluster, measured on the bundled model as the largest resident memory of a notebook's kernel: all facts of P27 on
# one thread took 1.8 GB in 01 and at most 1.0 GB in another notebook, all relations in one kernel 4.8 GB in 01 and 1.4 GB in 03; Snakemake
# around it adds half of one. No notebook computed for more than a minute over those 45 facts; here is time for a thousand.
MEMORY = {"01_attribution": 6000, "other": 3000}  # MB
MINUTES = {"01_attribution": 240, "other": 60}


def code(notebook):
    """The notebook, the code behind it and, if it shows them, the claims and what is published."""
    own = [f"kn_utils/{folder}/{notebook[3:]}.py" for folder in ("steps", "summaries", "figures")]
    text = Path(f"notebooks/{notebook}.ipynb").read_text(encoding="utf-8")
    beside = CLAIMS + PUBLISHED if "kn_utils.claims" in text or "load_measured" in text else []
    return [f"notebooks/{notebook}.ipynb", *METHOD, *filter(os.path.isfile, own), *beside]


def tables(notebook, *names):
    """The tables that one run of a notebook needs or makes; {relation} where it runs once for each."""
    relations = ["{relation}"] if RUNS.each(notebook) else RUNS.relations(notebook)
    return [f"{RUNS.results}/{name}/{relation}.parquet" for name in names for relation in relations]


def makes(notebook):
    return list(map(update, tables(notebook, *MADE_BY[notebook])))


def made_by(*notebooks):
    """All tables of all relations of these notebooks."""
    return [path.format(relation=name) for step in notebooks for path in tables(step, *MADE_BY[step]) for name in RUNS.relations(step)]


def executed(notebook):
    return RUNS.run(notebook, "{relation}" if RUNS.each(notebook) else "").executed


def asks(amounts):
    """The amount that a job asks for, by its notebook."""
    return lambda wildcards, input: amounts.get(Path(input[0]).stem, amounts["other"])


def all_executed(*notebooks):
    """The executed notebooks of the runs that make these tables."""
    return sorted({executed(step).format(relation=name) for step in notebooks for name in RUNS.relations(step)})


def parameters(notebook):
    return lambda wildcards: quote(json.dumps(RUNS.run(notebook, wildcards.get("relation", "")).parameters))


def arguments(notebook):
    """The parameters of a run, and that it is for its tables alone where a chapter shows those of all relations."""
    return lambda wildcards: parameters(notebook)(wildcards) + " --for-tables" * RUNS.each(notebook)


def publishing(wildcards):
    """What says to kn_utils.store.published of which run the tables are."""
    drawn = [] if config["n_facts"] == "all" else ["--n-facts", config["n_facts"]]
    run = [config["model"], config["dataset"], "--results-dir", config["results_dir"], *drawn, "--seed", config["seed"]]
    return join(map(str, run))


localrules:
    book,
    tables,
    published,
    pages,


rule book:
    input:
        "book/_build/html/index.html",


rule tables:
    input:
        made_by(*STEPS),
        all_executed(*STEPS),


rule published:
    input:
        rules.tables.input,
    params:
        publishing,
    shell:
        "{sys.executable} -m kn_utils.store.published {params}"


rule attribution_shard:
    input:
        code("01_attribution"),
    output:
        temp(touch(f"{RUNS.results}/attribution/.{{relation}}.{{shard}}.done")),
    log:
        f"{RUNS.results}/notebooks/01_attribution/{{relation}}.{{shard}}.log",
    params:
        parameters("01_attribution"),
    threads: 1
    resources:
        mem_mb=asks(MEMORY),
        runtime=asks(MINUTES),
    priority: 1
    shell:
        "{sys.executable} book/run_shard.py {input[0]} {params} {wildcards.shard} > {log} 2>&1"


rule attribution:
    input:
        code("01_attribution"),
        [rules.attribution_shard.output[0].format(relation="{relation}", shard=shard) for shard in RUNS.shards],
    output:
        makes("01_attribution"),
        notebook=executed("01_attribution"),
    log:
        executed("01_attribution").replace(".ipynb", ".log"),
    params:
        arguments("01_attribution"),
    threads: 1 if RUNS.each("01_attribution") else workflow.cores
    resources:
        mem_mb=asks(MEMORY),
        runtime=asks(MINUTES),
    priority: 1  # tables before pages
    shell:
        "rm -f $(printf '.snakemake/backups/%s ' {output}) && "
        "{sys.executable} book/run_notebook.py {input[0]} {output.notebook} {params} > {log} 2>&1"


use rule attribution as knowledge_neurons with:
    input:
        code("02_knowledge_neurons"),
        tables("02_knowledge_neurons", "attribution", "facts", "completeness"),
    output:
        makes("02_knowledge_neurons"),
        notebook=executed("02_knowledge_neurons"),
    log:
        executed("02_knowledge_neurons").replace(".ipynb", ".log"),
    params:
        arguments("02_knowledge_neurons"),
    threads: 1


use rule attribution as modify_activation with:
    input:
        code("03_modify_activation"),
        tables("03_modify_activation", "knowledge_neurons", "facts"),
    output:
        makes("03_modify_activation"),
        notebook=executed("03_modify_activation"),
    log:
        executed("03_modify_activation").replace(".ipynb", ".log"),
    params:
        arguments("03_modify_activation"),
    threads: 1


use rule attribution as distant_prompts with:
    input:
        code("04_distant_prompts"),
        tables("04_distant_prompts", "knowledge_neurons", "facts"),
    output:
        makes("04_distant_prompts"),
        notebook=executed("04_distant_prompts"),
    log:
        executed("04_distant_prompts").replace(".ipynb", ".log"),
    params:
        arguments("04_distant_prompts"),
    threads: 1


use rule attribution as trigger_examples with:
    input:
        code("05_trigger_examples"),
        tables("05_trigger_examples", "distant_prompts", "knowledge_neurons"),
    output:
        makes("05_trigger_examples"),
        notebook=executed("05_trigger_examples"),
    log:
        executed("05_trigger_examples").replace(".ipynb", ".log"),
    params:
        arguments("05_trigger_examples"),
    threads: 1


use rule attribution as edit_facts with:
    input:
        code("06_edit_facts"),
        tables("06_edit_facts", "knowledge_neurons", "prompts", "facts"),
    output:
        makes("06_edit_facts"),
        notebook=executed("06_edit_facts"),
    log:
        executed("06_edit_facts").replace(".ipynb", ".log"),
    params:
        arguments("06_edit_facts"),
    threads: 1


use rule attribution as erase_relation with:
    input:
        code("07_erase_relation"),
        tables("07_erase_relation", "knowledge_neurons"),
    output:
        makes("07_erase_relation"),
        notebook=executed("07_erase_relation"),
    log:
        executed("07_erase_relation").replace(".ipynb", ".log"),
    params:
        arguments("07_erase_relation"),
    threads: 1
    priority: 2  # the longest


# A chapter is a notebook run over all relations, from tables that are there: of a notebook that ran once for each, and of those
# that make no table (the report, the figures, the queries).
use rule attribution as chapter with:
    input:
        lambda wildcards: code(wildcards.chapter),
        rules.tables.input,
    output:
        notebook=f"{RUNS.results}/notebooks/{{chapter}}.ipynb",
    log:
        f"{RUNS.results}/notebooks/{{chapter}}.log",
    params:
        lambda wildcards: parameters(wildcards.chapter)({}),
    threads: 1
    priority: 0
    wildcard_constraints:
        chapter="|".join(notebook for notebook in config["notebooks"] if notebook not in STEPS or RUNS.each(notebook)),


# A page is a notebook run over one relation, from tables that are there.
use rule attribution as relation_page with:
    input:
        lambda wildcards: code(wildcards.notebook),
        lambda wildcards: RUNS.run(wildcards.notebook).executed,
    output:
        notebook=f"{RUNS.results}/notebooks/{{notebook}}/{{relation}}.ipynb",
    log:
        f"{RUNS.results}/notebooks/{{notebook}}/{{relation}}.log",
    params:
        lambda wildcards: parameters(wildcards.notebook)(wildcards),
    threads: 1
    priority: 0
    wildcard_constraints:
        notebook="|".join(notebook for notebook in STEPS if not RUNS.each(notebook)) or "(?!)",  # none, where "" would be any


rule pages:
    input:
        [run.executed for run in RUNS.all_runs()],
        [f"notebooks/{notebook}.ipynb" for notebook in config["notebooks"]],
        sorted(map(str, Path("book").glob("*.py"))),
        "book/runs.yml",
    output:
        [run.page for run in RUNS.all_runs()],
        "book/_toc.yml",
    run:
        make_pages(RUNS)


rule html:
    input:
        rules.pages.output,
        "book/_config.yml",
        [str(path) for folder in ("", "api/", "_ext/", "_static/", "images/") for path in Path("book").glob(f"{folder}*.*")],
        sorted(map(str, Path("kn_utils").rglob("*.py"))),
    output:
        "book/_build/html/index.html",
    params:
        repository=os.environ.get("REPOSITORY", ""),  # makes the launch buttons; read by book/_ext/repository.py
    shell:
        "{sys.prefix}/bin/jupyter-book build book --all -W -n --keep-going && touch {output}"
