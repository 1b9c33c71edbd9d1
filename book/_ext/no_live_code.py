"""Takes out sphinx-thebe, which Jupyter Book always loads: pages here do not run code, and its script fails on each of them.

Under Sphinx 7.4 it declares its settings twice ("Identifier 'THEBE_JS_URL' has already been declared"), one an address on another host.
"""


def setup(app):
    for listeners in app.events.listeners.values():
        listeners[:] = [listener for listener in listeners if listener.handler.__module__ != "sphinx_thebe"]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
