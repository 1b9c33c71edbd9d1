"""Knowledge neurons in pretrained transformers: the helpers behind the notebooks.

Read the modules in the paper's order: `facts` and `prompts` (what is asked), `models` and `layouts` (who is asked, and where its
neurons are), `quadrature`, `scaled_copies` and `attribution` (section 3.2), `neurons` and `intersections` (3.3, 4.2), `forward` and
`interventions` (4.3), `sentences` (4.4), `edits` and `edit_plans` (5); `runs` and `results` say how tables are kept. `steps` makes the
tables of each notebook, `summaries` reads numbers from them, `figures` draws them.
"""

__version__ = "0.4.0"
