"""Knowledge neurons in pretrained transformers: the helpers behind the notebooks.

Read `data`, `model` and `store` first, then the folder of a chapter in `chapters`: its `table` makes tables, `numbers` computes from them
what `figures` draws and `claims` tests. `report` collects the claims.
"""

__version__ = "0.4.0"
