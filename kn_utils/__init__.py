"""Knowledge neurons in pretrained transformers: the helpers behind the notebooks.

Read `data`, `model` and `store` first, then one chapter in `chapters`. In a chapter, `table` makes the result tables, `numbers` computes
statistics from them, `figures` draws these, and `claims` tests the paper's claims. `report` collects the claims.
"""

__version__ = "0.4.0"
