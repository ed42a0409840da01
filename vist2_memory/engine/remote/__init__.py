"""An engine that runs in a server of this library, ``vist2 serve``, over HTTP."""
