"""Takes out the script of sphinx-thebe, which Jupyter Book always loads: pages here do not run code, and it fails on each of them.

Under Sphinx 7.4 it declares its settings twice ("Identifier 'THEBE_JS_URL' has already been declared"), one an address on another host.
"""


def setup(app):
    for listeners in app.events.listeners.values():
        listeners[:] = [listener for listener in listeners if getattr(listener.handler, "__name__", "") != "init_thebe_core"]
    return {"parallel_read_safe": True, "parallel_write_safe": True}
