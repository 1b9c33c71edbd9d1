"""Knowledge neurons in pretrained transformers: the helpers behind the notebooks.

Read the modules in the paper's order: `facts` and `prompts` (what is asked), `models` and `layouts` (who is asked, and where its
neurons are), `quadrature`, `scaled_copies` and `attribution` (section 3.2), and `results` (how tables are kept).
"""

__version__ = "0.1.0"
